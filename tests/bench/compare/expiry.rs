//! `expiry`: ten million keys that all fall due in the same second, and what other traffic feels of it.
//!
//! Prints the latencies of that traffic before and from the due time on, when DBSIZE reached what remains, and how much
//! resident memory came back.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use hdrhistogram::Histogram;

use crate::{
    Options,
    client::Client,
    machine::{self, Usage},
    paced,
    report::{Table, mebibytes, title, verdict},
    server::Server,
    system::{Kind, System},
    wire::Expiry,
};

const KEYS: u64 = 10_000_000;
const VALUE: &[u8] = b"12345678";
/// The keys that the other traffic reads; they never expire.
const LASTING_FIRST: u64 = 100_000_000_000;
const LASTING: u64 = 1_000;
/// One in so many keys is loaded to see how long all of them take (more, as they leave the caches); one and a half times as
/// much again is granted, and [`CALM`] on top.
const TRIAL_PART: u64 = 20;
const FAR_MS: u64 = 3_600_000;
const CALM: Duration = Duration::from_secs(4);
/// Traffic goes on this long after the last key is gone.
const AFTERMATH: Duration = Duration::from_secs(3);
/// How long the keys may take to go before the run gives up.
const GIVE_UP: Duration = Duration::from_secs(60);
/// Goals: 99.9 % of the other requests within 5 ms; gone one second after the second in which they fell due.
const P999_MS: f64 = 5.0;
const GONE_SECONDS: f64 = 2.0;

/// What the watcher saw.
struct Watched {
    gone_seconds: Option<f64>,
    full_bytes: u64,
    left_bytes: u64,
    others_percent: f64,
}

/// Runs the storm on each system.
pub fn run(options: &Options) -> io::Result<()> {
    let keys = if options.quick { KEYS / 10 } else { KEYS };
    title(&format!("Expiry: {keys} keys fall due in one second, 10,000 GETs a second beside"));
    let systems = System::available(&options.chosen(&[Kind::Larder, Kind::Redis]));
    let header = ["system", "when", "p50 ms", "p99 ms", "p99.9 ms", "max ms", "gone after s", "RSS MB"];
    let mut table = Table::new(&header);
    let mut verdicts = Vec::new();
    let mut others: f64 = 0.0;
    for system in &systems {
        let (seen, watched) = storm(system, keys)?;
        let gone = watched.gone_seconds;
        let gone_text =
            gone.map_or_else(|| format!("> {}", GIVE_UP.as_secs()), |seconds| format!("{seconds:.2}"));
        others = others.max(watched.others_percent);
        let before = latencies(&seen.before_us);
        let after = latencies(&seen.after_us);
        table.row(
            [
                vec![system.name.into(), "before".into()],
                before,
                vec![String::new(), mebibytes(watched.full_bytes)],
            ]
            .concat(),
        );
        table.row(
            [
                vec![system.name.into(), "from due on".into()],
                after,
                vec![gone_text, mebibytes(watched.left_bytes)],
            ]
            .concat(),
        );
        if seen.wrong > 0 {
            println!("{}: {} GETs of lasting keys found nothing", system.name, seen.wrong);
        }
        if system.kind == Kind::Larder {
            let p999_ms = seen.after_us.value_at_quantile(0.999) as f64 / 1e3;
            verdicts.push(("p99.9 of other traffic in ms:", p999_ms, P999_MS));
            let seconds = gone.unwrap_or(GIVE_UP.as_secs_f64());
            verdicts.push((
                "seconds from the start of the due second until all are gone:",
                seconds,
                GONE_SECONDS,
            ));
        }
    }
    table.print();
    machine::print_others(others);
    verdicts.into_iter().for_each(|(what, measured, goal)| verdict(what, measured, goal));
    Ok(())
}

fn latencies(histogram: &Histogram<u64>) -> Vec<String> {
    let at = |quantile| format!("{:.2}", histogram.value_at_quantile(quantile) as f64 / 1e3);
    vec![at(0.5), at(0.99), at(0.999), at(1.0)]
}

fn storm(system: &System, keys: u64) -> io::Result<(paced::Seen, Watched)> {
    let server = Server::start(system, None, VALUE.len())?;
    let mut client = Client::connect(&server)?;
    client.fill(LASTING_FIRST..LASTING_FIRST + LASTING, VALUE, Expiry::Never)?;
    let (due_ms, due) = due_time(&mut client, keys)?;
    load(&mut client, keys, due_ms)?;
    if Instant::now() + CALM / 2 > due {
        return Err(io::Error::other(format!("{} took too long to load {keys} keys", system.name)));
    }
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let watched = watch(&server, &mut client, due);
            stop.store(true, Ordering::Relaxed);
            watched
        });
        let seen = paced::run(&server, LASTING_FIRST, LASTING, due, &stop);
        let watched = watcher.join().map_err(|_| io::Error::other("the watcher panicked"))?;
        Ok((seen?, watched?))
    })
}

/// When the keys shall fall due, on both clocks: the start of a whole second, late enough for them to be loaded first.
/// How long that takes is tried out on a part of them, which the load then overwrites.
fn due_time(client: &mut Client, keys: u64) -> io::Result<(u64, Instant)> {
    let started = Instant::now();
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other)?.as_millis() as u64;
    load(client, keys / TRIAL_PART, now_ms + FAR_MS)?;
    let wait = started.elapsed() * TRIAL_PART as u32 * 5 / 2 + CALM;
    let due_ms = (now_ms + wait.as_millis() as u64) / 1000 * 1000;
    Ok((due_ms, started + Duration::from_millis(due_ms - now_ms)))
}

/// Stores the keys, due at milliseconds spread over the second that starts at `due_ms`.
fn load(client: &mut Client, keys: u64, due_ms: u64) -> io::Result<()> {
    let chunk = crate::client::FILL_BATCH;
    for (index, first) in (0..keys).step_by(chunk as usize).enumerate() {
        let at_ms = due_ms + index as u64 % 1000;
        client.fill(first..(first + chunk).min(keys), VALUE, Expiry::AtMs(at_ms))?;
    }
    Ok(())
}

fn watch(server: &Server, client: &mut Client, due: Instant) -> io::Result<Watched> {
    thread::sleep((due - Duration::from_millis(50)).saturating_duration_since(Instant::now()));
    let full_bytes = server.probe().resident_bytes()?;
    let (started, usage) = (Instant::now(), Usage::now(server.probe())?);
    let mut gone_seconds = None;
    while due.elapsed() < GIVE_UP {
        if client.items()? <= LASTING {
            gone_seconds = Some(due.elapsed().as_secs_f64());
            break;
        }
        thread::sleep(Duration::from_millis(10));
    }
    thread::sleep(AFTERMATH);
    let others_percent = Usage::now(server.probe())?.others_percent(&usage, started.elapsed().as_secs_f64());
    Ok(Watched { gone_seconds, full_bytes, left_bytes: server.probe().resident_bytes()?, others_percent })
}
