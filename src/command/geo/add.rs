//! GEOADD: places under the names of members.

use smallvec::SmallVec;

use crate::base::geo;
use crate::command::context::Cx;
use crate::command::geo::{KEY, point};
use crate::command::sorted::add::add_members;
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{DENYOOM, WRITE};
use crate::command::spec::key_spec::{RW, UPDATE};
use crate::command::spec::{Group, Spec};
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;
use crate::store::value::sorted::AddOptions;

/// The row.
pub const COMMANDS: &[Spec] = &[Spec::new("geoadd", geoadd)
    .arity(-5)
    .flags(WRITE | DENYOOM)
    .keys(&[KEY.flags(RW | UPDATE)])
    .group(Group::Geo)
    .since("3.2.0")
    .complexity("O(log(N)) for every place, N the number of members.")
    .summary("Adds places to a geospatial index, or moves those that are there.")
    .history(&[("6.2.0", "The options `CH`, `NX` and `XX` came.")])
    .args(&[
        Arg::key("key", 0),
        Arg::one_of("condition", &[Arg::flag("nx", "NX"), Arg::flag("xx", "XX")]).optional().since("6.2.0"),
        Arg::flag("change", "CH").optional().since("6.2.0"),
        Arg::block("data", &[Arg::double("longitude"), Arg::double("latitude"), Arg::string("member")])
            .multiple(),
    ])
    .reply(Shape::Integer)
    .finish()];

fn geoadd(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let (mut options, mut counts_changes, mut first) = (AddOptions::default(), false, 2);
    while let Some(word) = args.get(first) {
        if word.eq_ignore_ascii_case(b"nx") {
            options.nx = true;
        } else if word.eq_ignore_ascii_case(b"xx") {
            options.xx = true;
        } else if word.eq_ignore_ascii_case(b"ch") {
            counts_changes = true;
        } else {
            break;
        }
        first += 1;
    }
    let places = args.from(first);
    if places.is_empty() || !places.len().is_multiple_of(3) || options.nx && options.xx {
        return Err(Error::Syntax);
    }
    let mut members: SmallVec<[(f64, &[u8]); 8]> = SmallVec::new();
    for at in (0..places.len()).step_by(3) {
        let place = point(&places[at], &places[at + 1])?;
        members.push((geo::hash(place) as f64, places.get(at + 2).unwrap_or_default()));
    }
    let outcome = add_members(cx, &args[1], members.into_iter(), options)?;
    cx.reply.integer(if counts_changes { outcome.added + outcome.updated } else { outcome.added });
    Ok(())
}
