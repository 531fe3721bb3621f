//! GEOSEARCH and its older relatives: members within a circle or a box, sorted by distance or not; the storing forms keep
//! them.
//!
//! Only the nine cells around the center are looked into. Members are read where they lie: what is collected of them are
//! references, until the reply is written or the result stored.

use std::cmp::Ordering;

use crate::base::geo::{self, Point};
use crate::base::num::parse_i64;
use crate::command::collection::write_element;
use crate::command::context::Cx;
use crate::command::geo::{KEY, UNIT, hash_of, place_of, point, unit, write_length, write_point};
use crate::command::sorted::{number, store_members};
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{DENYOOM, READONLY, WRITE};
use crate::command::spec::key_spec::{ACCESS, KeyFlags, KeySpec, OW, RO, UPDATE};
use crate::command::spec::{Group, Spec};
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::reply::Reply;
use crate::resp::shape::Shape;
use crate::store::value::listpack::Element;
use crate::store::value::sorted::{ScoreBound, ScoreRange, SortedSet, SortedSetRef};
use crate::store::value::text::Text;

/// The rows.
pub const COMMANDS: &[Spec] = &[
    Spec::new("geosearch", geosearch)
        .arity(-7)
        .flags(READONLY)
        .keys(&[KEY.flags(RO | ACCESS)])
        .group(Group::Geo)
        .since("6.2.0")
        .complexity(COMPLEXITY)
        .summary("Returns the members within a circle or a box.")
        .history(&[("7.0.0", "Units may be written in upper case.")])
        .args(&[Arg::key("key", 0), FROM, BY, ORDER, COUNT, WITHCOORD, WITHDIST, WITHHASH])
        .reply(FOUND)
        .finish(),
    Spec::new("geosearchstore", geosearchstore)
        .arity(-8)
        .flags(WRITE | DENYOOM)
        .keys(&[KEY.flags(OW | UPDATE), KeySpec::at(2).flags(RO | ACCESS)])
        .group(Group::Geo)
        .since("6.2.0")
        .complexity(COMPLEXITY)
        .summary("Stores the members within a circle or a box under another key; returns their number.")
        .history(&[("7.0.0", "Units may be written in upper case.")])
        .args(&[
            Arg::key("destination", 0),
            Arg::key("source", 1),
            FROM,
            BY,
            ORDER,
            COUNT,
            Arg::flag("storedist", "STOREDIST").optional(),
        ])
        .reply(Shape::Integer)
        .finish(),
    Spec::new("georadius", georadius)
        .arity(-6)
        .flags(WRITE | DENYOOM)
        .keys(&[KEY.flags(RO | ACCESS), stored("STORE", 6), stored("STOREDIST", 6)])
        .key_finder(radius_keys)
        .group(Group::Geo)
        .since("3.2.0")
        .deprecated("6.2.0", "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` argument")
        .complexity(COMPLEXITY)
        .summary("Returns the members within a circle around a place, or stores them under another key.")
        .history(&[
            ("6.2.0", "The option `ANY` of `COUNT` came."),
            ("7.0.0", "Units may be written in upper case."),
        ])
        .args(&[
            Arg::key("key", 0),
            Arg::double("longitude"),
            Arg::double("latitude"),
            Arg::double("radius"),
            UNIT,
            WITHCOORD,
            WITHDIST,
            WITHHASH,
            COUNT,
            ORDER,
            Arg::key("storekey", 1).display("key").token("STORE").optional(),
            Arg::key("storedistkey", 2).display("key").token("STOREDIST").optional(),
        ])
        .reply(FOUND_OR_STORED)
        .finish(),
    Spec::new("georadius_ro", georadius_ro)
        .arity(-6)
        .flags(READONLY)
        .keys(&[KEY.flags(RO | ACCESS)])
        .group(Group::Geo)
        .since("3.2.10")
        .deprecated("6.2.0", "`GEOSEARCH` with the `BYRADIUS` argument")
        .complexity(COMPLEXITY)
        .summary("Returns the members within a circle around a place.")
        .history(&[("6.2.0", "The option `ANY` of `COUNT` came.")])
        .args(&[
            Arg::key("key", 0),
            Arg::double("longitude"),
            Arg::double("latitude"),
            Arg::double("radius"),
            UNIT,
            WITHCOORD,
            WITHDIST,
            WITHHASH,
            COUNT,
            ORDER,
        ])
        .reply(FOUND)
        .finish(),
    Spec::new("georadiusbymember", georadiusbymember)
        .arity(-5)
        .flags(WRITE | DENYOOM)
        .keys(&[KEY.flags(RO | ACCESS), stored("STORE", 5), stored("STOREDIST", 5)])
        .key_finder(radius_keys)
        .group(Group::Geo)
        .since("3.2.0")
        .deprecated(
            "6.2.0",
            "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` and `FROMMEMBER` arguments",
        )
        .complexity(COMPLEXITY)
        .summary("Returns the members within a circle around one of them, or stores them under another key.")
        .history(&[
            ("6.2.0", "The option `ANY` of `COUNT` came."),
            ("7.0.0", "Units may be written in upper case."),
        ])
        .args(&[
            Arg::key("key", 0),
            Arg::string("member"),
            Arg::double("radius"),
            UNIT,
            WITHCOORD,
            WITHDIST,
            WITHHASH,
            COUNT,
            ORDER,
            Arg::key("storekey", 1).display("key").token("STORE").optional(),
            Arg::key("storedistkey", 2).display("key").token("STOREDIST").optional(),
        ])
        .reply(FOUND_OR_STORED)
        .finish(),
    Spec::new("georadiusbymember_ro", georadiusbymember_ro)
        .arity(-5)
        .flags(READONLY)
        .keys(&[KEY.flags(RO | ACCESS)])
        .group(Group::Geo)
        .since("3.2.10")
        .deprecated("6.2.0", "`GEOSEARCH` with the `BYRADIUS` and `FROMMEMBER` arguments")
        .complexity(COMPLEXITY)
        .summary("Returns the members within a circle around one of them.")
        .args(&[
            Arg::key("key", 0),
            Arg::string("member"),
            Arg::double("radius"),
            UNIT,
            WITHCOORD,
            WITHDIST,
            WITHHASH,
            COUNT,
            ORDER,
        ])
        .reply(FOUND)
        .finish(),
];

const COMPLEXITY: &str =
    "O(N+log(M)), N the number of members in the cells around the center, M the number of all members.";
const FROM: Arg = Arg::one_of(
    "from",
    &[
        Arg::string("member").token("FROMMEMBER"),
        Arg::block("fromlonlat", &[Arg::double("longitude"), Arg::double("latitude")]).token("FROMLONLAT"),
    ],
);
const BY: Arg = Arg::one_of(
    "by",
    &[
        Arg::block("circle", &[Arg::double("radius").token("BYRADIUS"), UNIT]),
        Arg::block("box", &[Arg::double("width").token("BYBOX"), Arg::double("height"), UNIT]),
    ],
);
const ORDER: Arg = Arg::one_of("order", &[Arg::flag("asc", "ASC"), Arg::flag("desc", "DESC")]).optional();
const COUNT: Arg =
    Arg::block("count-block", &[Arg::integer("count").token("COUNT"), Arg::flag("any", "ANY").optional()])
        .optional();
const WITHCOORD: Arg = Arg::flag("withcoord", "WITHCOORD").optional();
const WITHDIST: Arg = Arg::flag("withdist", "WITHDIST").optional();
const WITHHASH: Arg = Arg::flag("withhash", "WITHHASH").optional();
/// Members, or arrays of a member and what is asked for with it.
const FOUND: Shape = Shape::OneOf(&[
    Shape::Array(&Shape::Bulk),
    Shape::Array(&Shape::Array(&Shape::OneOf(&[
        Shape::Bulk,
        Shape::Integer,
        Shape::Tuple(&[Shape::Double, Shape::Double]),
    ]))),
]);
const FOUND_OR_STORED: Shape = Shape::OneOf(&[FOUND, Shape::Integer]);

const fn stored(word: &'static str, start_from: i32) -> KeySpec {
    KeySpec::keyword(word, start_from).find_range(0, 1, 0).flags(OW | UPDATE)
}

/// The index, and every key that is named for the result; the last of them counts.
fn radius_keys(args: Args<'_>, visit: &mut dyn FnMut(usize, KeyFlags)) -> bool {
    visit(1, RO | ACCESS);
    let mut at = 5;
    while at + 1 < args.len() {
        if args[at].eq_ignore_ascii_case(b"store") || args[at].eq_ignore_ascii_case(b"storedist") {
            at += 1;
            visit(at, OW | UPDATE);
        }
        at += 1;
    }
    true
}

/// Which command it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Radius { may_store: bool },
    RadiusByMember { may_store: bool },
    Search,
    SearchStore,
}

impl Kind {
    fn is_search(self) -> bool {
        matches!(self, Self::Search | Self::SearchStore)
    }

    fn may_store(self) -> bool {
        matches!(self, Self::Radius { may_store: true } | Self::RadiusByMember { may_store: true })
    }
}

/// A figure with the unit that it was given in.
#[derive(Clone, Copy, Debug)]
struct Figure {
    shape: geo::Shape,
    unit: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    None,
    Ascending,
    Descending,
}

/// What is searched, and what becomes of it.
struct Request<'a> {
    /// Nothing: a member of an index that is not there.
    center: Option<Point>,
    figure: Option<Figure>,
    with_distance: bool,
    with_hash: bool,
    with_place: bool,
    order: Order,
    /// 0: all.
    count: usize,
    any: bool,
    store: Option<&'a [u8]>,
    stores_distance: bool,
    has_center: bool,
    /// By FROMLONLAT.
    center_is_place: bool,
}

/// A length, with what is wrong where it is no number.
fn length(text: &[u8], error: &'static str) -> Result<f64, Error> {
    number(text).ok_or(Error::Fixed(error))
}

fn circle(radius: &[u8], unit_text: &[u8]) -> Result<Figure, Error> {
    let radius = length(radius, "ERR need numeric radius")?;
    if radius < 0.0 {
        return Err(Error::Fixed("ERR radius cannot be negative"));
    }
    let unit = unit(unit_text)?;
    Ok(Figure { shape: geo::Shape::Circle { radius: radius * unit }, unit })
}

fn rectangle(width: &[u8], height: &[u8], unit_text: &[u8]) -> Result<Figure, Error> {
    let width = length(width, "ERR need numeric width")?;
    let height = length(height, "ERR need numeric height")?;
    if width < 0.0 || height < 0.0 {
        return Err(Error::Fixed("ERR height or width cannot be negative"));
    }
    let unit = unit(unit_text)?;
    Ok(Figure { shape: geo::Shape::Box { width: width * unit, height: height * unit }, unit })
}

fn member_place(set: SortedSetRef<'_>, member: &[u8]) -> Result<Point, Error> {
    let score = set.score(member).ok_or(Error::Fixed("ERR could not decode requested zset member"))?;
    Ok(place_of(score))
}

impl<'a> Request<'a> {
    /// Reads a request; `set` is the index, if it is there.
    fn parse(args: Args<'a>, kind: Kind, set: Option<SortedSetRef<'_>>, name: &[u8]) -> Result<Self, Error> {
        let mut request = Self {
            center: None,
            figure: None,
            with_distance: false,
            with_hash: false,
            with_place: false,
            order: Order::None,
            count: 0,
            any: false,
            store: None,
            stores_distance: false,
            has_center: false,
            center_is_place: false,
        };
        let options = match kind {
            Kind::Radius { .. } => {
                request.center = Some(point(&args[2], &args[3])?);
                request.figure = Some(circle(&args[4], &args[5])?);
                6
            }
            Kind::RadiusByMember { .. } => {
                // Without an index only the options are looked at.
                if let Some(set) = set {
                    request.center = Some(member_place(set, &args[2])?);
                    request.figure = Some(circle(&args[3], &args[4])?);
                }
                5
            }
            Kind::Search => 2,
            Kind::SearchStore => {
                request.store = args.get(1);
                3
            }
        };
        request.options(args.from(options), kind, set)?;
        request.check(kind, name)?;
        Ok(request)
    }

    fn options(&mut self, words: Args<'a>, kind: Kind, set: Option<SortedSetRef<'_>>) -> Result<(), Error> {
        let mut at = 0;
        while let Some(word) = words.get(at) {
            let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
            let behind = words.len() - at - 1;
            at += 1;
            if is(b"withdist") {
                self.with_distance = true;
            } else if is(b"withhash") {
                self.with_hash = true;
            } else if is(b"withcoord") {
                self.with_place = true;
            } else if is(b"any") {
                self.any = true;
            } else if is(b"asc") {
                self.order = Order::Ascending;
            } else if is(b"desc") {
                self.order = Order::Descending;
            } else if is(b"count") && behind >= 1 {
                let count = parse_i64(&words[at]).ok_or(Error::NotAnInteger)?;
                self.count = usize::try_from(count)
                    .ok()
                    .filter(|count| *count > 0)
                    .ok_or(Error::Fixed("ERR COUNT must be > 0"))?;
                at += 1;
            } else if kind.may_store() && behind >= 1 && (is(b"store") || is(b"storedist")) {
                self.store = words.get(at);
                self.stores_distance = is(b"storedist");
                at += 1;
            } else if kind == Kind::SearchStore && is(b"storedist") {
                self.stores_distance = true;
            } else if kind.is_search() {
                at += self.figure_word(word, words.from(at), set)?;
            } else {
                return Err(Error::Syntax);
            }
        }
        Ok(())
    }

    /// Reads what a search is to be around and within; how many words behind `word` belong to it.
    fn figure_word(
        &mut self,
        word: &[u8],
        behind: Args<'a>,
        set: Option<SortedSetRef<'_>>,
    ) -> Result<usize, Error> {
        let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
        // One way to name the center, and one kind of figure: the last of each counts.
        let from_place = self.has_center && self.center_is_place;
        if is(b"frommember") && !behind.is_empty() && !from_place {
            if let Some(set) = set {
                self.center = Some(member_place(set, &behind[0])?);
            }
            (self.has_center, self.center_is_place) = (true, false);
            Ok(1)
        } else if is(b"fromlonlat") && behind.len() >= 2 && (!self.has_center || from_place) {
            self.center = Some(point(&behind[0], &behind[1])?);
            (self.has_center, self.center_is_place) = (true, true);
            Ok(2)
        } else if is(b"byradius") && behind.len() >= 2 && !self.is_box() {
            self.figure = Some(circle(&behind[0], &behind[1])?);
            Ok(2)
        } else if is(b"bybox") && behind.len() >= 3 && (self.figure.is_none() || self.is_box()) {
            self.figure = Some(rectangle(&behind[0], &behind[1], &behind[2])?);
            Ok(3)
        } else {
            Err(Error::Syntax)
        }
    }

    fn is_box(&self) -> bool {
        matches!(self.figure, Some(Figure { shape: geo::Shape::Box { .. }, .. }))
    }

    fn check(&self, kind: Kind, name: &[u8]) -> Result<(), Error> {
        let name = String::from_utf8_lossy(name);
        if self.store.is_some() && (self.with_distance || self.with_hash || self.with_place) {
            let what = if kind.is_search() { "GEOSEARCHSTORE" } else { "STORE option in GEORADIUS" };
            return Err(Error::err(format_args!(
                "{what} is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
            )));
        }
        if kind.is_search() && !self.has_center {
            return Err(Error::err(format_args!(
                "exactly one of FROMMEMBER or FROMLONLAT can be specified for {name}"
            )));
        }
        if kind.is_search() && self.figure.is_none() {
            return Err(Error::err(format_args!(
                "exactly one of BYRADIUS and BYBOX can be specified for {name}"
            )));
        }
        if self.any && self.count == 0 {
            return Err(Error::Fixed("ERR the ANY argument requires COUNT argument"));
        }
        Ok(())
    }

    /// The members that are meant, in the order in which they are meant.
    fn find<'s>(&self, set: Option<SortedSetRef<'s>>) -> Vec<Found<'s>> {
        let (Some(set), Some(center), Some(figure)) = (set, self.center, self.figure) else {
            return Vec::new();
        };
        let stop_at = if self.any { self.count } else { usize::MAX };
        let mut found = search(set, center, figure, stop_at);
        let by_distance =
            |a: &Found<'_>, b: &Found<'_>| a.distance.partial_cmp(&b.distance).unwrap_or(Ordering::Equal);
        match self.order {
            // The nearest ones are meant where only some are wanted, unless any will do.
            Order::None if self.count == 0 || self.any => {}
            Order::None | Order::Ascending => found.sort_by(by_distance),
            Order::Descending => found.sort_by(|a, b| by_distance(b, a)),
        }
        if self.count > 0 {
            found.truncate(self.count);
        }
        found
    }

    fn write(&self, reply: &mut Reply, found: &[Found<'_>]) {
        let unit = self.figure.map_or(1.0, |figure| figure.unit);
        let extras =
            usize::from(self.with_distance) + usize::from(self.with_hash) + usize::from(self.with_place);
        reply.array(found.len());
        for one in found {
            if extras > 0 {
                reply.array(1 + extras);
            }
            write_element(reply, one.member);
            if self.with_distance {
                write_length(reply, one.distance / unit);
            }
            if self.with_hash {
                reply.integer(hash_of(one.score).cast_signed());
            }
            if self.with_place {
                write_point(reply, one.place);
            }
        }
    }
}

/// A member within the figure.
#[derive(Clone, Copy)]
struct Found<'a> {
    member: Element<'a>,
    score: f64,
    place: Point,
    /// From the center, in metres.
    distance: f64,
}

/// The members within a figure, cell by cell; no more cells are looked into once there are `stop_at`.
fn search(set: SortedSetRef<'_>, center: Point, figure: Figure, stop_at: usize) -> Vec<Found<'_>> {
    let mut found = Vec::new();
    for cell in figure.shape.cells(center) {
        let (first, behind) = cell.hashes();
        let range = ScoreRange {
            min: ScoreBound { score: first as f64, is_exclusive: false },
            max: ScoreBound { score: behind as f64, is_exclusive: true },
        };
        for (member, score) in set.walk_span(set.span_of_scores(&range), false) {
            let place = place_of(score);
            if let Some(distance) = figure.shape.distance_inside(center, place) {
                found.push(Found { member, score, place, distance });
                if found.len() >= stop_at {
                    return found;
                }
            }
        }
    }
    found
}

fn geosearch(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    run(cx, args, Kind::Search)
}

fn geosearchstore(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    run(cx, args, Kind::SearchStore)
}

fn georadius(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    run(cx, args, Kind::Radius { may_store: true })
}

fn georadius_ro(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    run(cx, args, Kind::Radius { may_store: false })
}

fn georadiusbymember(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    run(cx, args, Kind::RadiusByMember { may_store: true })
}

fn georadiusbymember_ro(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    run(cx, args, Kind::RadiusByMember { may_store: false })
}

fn run(cx: &mut Cx<'_>, args: Args<'_>, kind: Kind) -> Result<(), Error> {
    let source = args.get(if kind == Kind::SearchStore { 2 } else { 1 }).unwrap_or_default();
    let key = cx.data.key(source);
    let set = cx.data.read_value::<SortedSet>(&key)?;
    let request = Request::parse(args, kind, set, &args[0])?;
    let found = request.find(set);
    let Some(to) = request.store else {
        request.write(cx.reply, &found);
        return Ok(());
    };
    let unit = request.figure.map_or(1.0, |figure| figure.unit);
    let member = |one: &Found<'_>| {
        let score = if request.stores_distance { one.distance / unit } else { one.score };
        (one.member.with_bytes(|bytes| Text::from(bytes)), score)
    };
    let members: Vec<(Text, f64)> = found.iter().map(member).collect();
    // Redis counts every member as a change.
    let further = members.len().saturating_sub(1) as u64;
    let to = cx.data.key(to);
    store_members(cx, &to, members, if kind.is_search() { "geosearchstore" } else { "georadiusstore" })?;
    cx.data.dirty += further;
    Ok(())
}
