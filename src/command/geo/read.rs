//! GEODIST, GEOHASH, GEOPOS: what is known of members.

use crate::base::geo;
use crate::command::context::Cx;
use crate::command::geo::{KEY, UNITS, place_of, unit, write_length, write_point};
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::READONLY;
use crate::command::spec::key_spec::{ACCESS, RO};
use crate::command::spec::{Group, Spec};
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;
use crate::store::value::sorted::SortedSet;

/// The rows.
pub const COMMANDS: &[Spec] = &[
    Spec::new("geodist", geodist)
        .arity(-4)
        .flags(READONLY)
        .keys(&[KEY.flags(RO | ACCESS)])
        .group(Group::Geo)
        .since("3.2.0")
        .complexity("O(1).")
        .summary("Returns the distance of two members.")
        .args(&[
            Arg::key("key", 0),
            Arg::string("member1"),
            Arg::string("member2"),
            Arg::one_of("unit", UNITS).optional(),
        ])
        .reply(Shape::BulkOrNull)
        .finish(),
    Spec::new("geohash", geohash)
        .arity(-2)
        .flags(READONLY)
        .keys(&[KEY.flags(RO | ACCESS)])
        .group(Group::Geo)
        .since("3.2.0")
        .complexity("O(N), N the number of members asked for.")
        .summary("Returns the places of members as standard geohash texts.")
        .args(&[Arg::key("key", 0), Arg::string("member").optional().multiple()])
        .reply(Shape::Array(&Shape::BulkOrNull))
        .finish(),
    Spec::new("geopos", geopos)
        .arity(-2)
        .flags(READONLY)
        .keys(&[KEY.flags(RO | ACCESS)])
        .group(Group::Geo)
        .since("3.2.0")
        .complexity("O(N), N the number of members asked for.")
        .summary("Returns the longitudes and latitudes of members.")
        .args(&[Arg::key("key", 0), Arg::string("member").optional().multiple()])
        .reply(Shape::Array(&Shape::OneOf(&[Shape::Null, Shape::Tuple(&[Shape::Double, Shape::Double])])))
        .finish(),
];

fn geodist(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let unit = match args.len() {
        4 => 1.0,
        5 => unit(&args[4])?,
        _ => return Err(Error::Syntax),
    };
    let key = cx.data.key(&args[1]);
    let set = cx.data.read_value::<SortedSet>(&key)?;
    let score = |member: &[u8]| set.and_then(|set| set.score(member));
    match (score(&args[2]), score(&args[3])) {
        (Some(from), Some(to)) => {
            let distance = geo::distance(place_of(from), place_of(to));
            write_length(cx.reply, distance / unit);
        }
        _ => cx.reply.null(),
    }
    Ok(())
}

fn geohash(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let key = cx.data.key(&args[1]);
    let set = cx.data.read_value::<SortedSet>(&key)?;
    cx.reply.array(args.len() - 2);
    for member in args.from(2).iter() {
        match set.and_then(|set| set.score(member)) {
            Some(score) => cx.reply.bulk(&geo::text(place_of(score))),
            None => cx.reply.null(),
        }
    }
    Ok(())
}

fn geopos(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let key = cx.data.key(&args[1]);
    let set = cx.data.read_value::<SortedSet>(&key)?;
    cx.reply.array(args.len() - 2);
    for member in args.from(2).iter() {
        match set.and_then(|set| set.score(member)) {
            Some(score) => write_point(cx.reply, place_of(score)),
            None => cx.reply.null_array(),
        }
    }
    Ok(())
}
