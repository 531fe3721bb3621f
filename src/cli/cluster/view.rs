//! A survey of a cluster as people and programs read it.

use super::survey::{MoveTold, NodeSeen, Survey, Told};
use crate::base::slot::SLOT_COUNT;
use std::fmt::Write;

/// Digits of an id that a table shows.
const ID_SHOWN: usize = 8;

/// For people: a few lines on the cluster, a table of its nodes, and one of the moves if there are any.
pub fn text(survey: &Survey) -> String {
    let field = |name: &str| survey.field(name);
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<8} {value}");
    };
    line("cluster", format!("{} ({})", field("cluster_name"), field("cluster_id")));
    let why = match field("cluster_why") {
        "" => String::new(),
        why => format!(": {why}"),
    };
    line("state", format!("{}, this node is {}{why}", field("cluster_state"), field("cluster_phase")));
    line(
        "table",
        format!("version {}, generation {}", field("cluster_table_version"), field("cluster_generation")),
    );
    line("agreed", format!("{} of {} nodes go by this table", survey.agreeing(), survey.nodes.len()));
    line("leader", format!("{}, term {}", leader(survey), field("cluster_term")));
    line("voters", voters(survey).join(", "));
    line(
        "slots",
        format!(
            "{} of {SLOT_COUNT} have an owner, {} are not where they should be, {} moves are under way",
            field("cluster_slots_assigned"),
            field("cluster_slots_displaced"),
            field("cluster_moves")
        ),
    );
    text.push('\n');
    text.push_str(&table(&node_rows(survey)));
    let moves: Vec<&MoveTold> = survey.moves().collect();
    if !moves.is_empty() {
        text.push('\n');
        text.push_str(&table(&move_rows(&moves)));
    }
    text
}

fn short(id: &str) -> String {
    id.chars().take(ID_SHOWN).collect()
}

fn leader(survey: &Survey) -> String {
    match survey.field("cluster_leader") {
        "" => "none".to_owned(),
        id => {
            let node = survey.nodes.iter().find(|(node, _)| node.id == id);
            node.map_or_else(|| short(id), |(node, _)| format!("{} at {}", short(id), node.address))
        }
    }
}

fn voters(survey: &Survey) -> Vec<String> {
    survey.field("cluster_voters").split(',').filter(|id| !id.is_empty()).map(short).collect()
}

fn node_rows(survey: &Survey) -> Vec<Vec<String>> {
    let mut rows =
        vec![row(["node", "address", "slots", "share", "keys", "memory", "table", "role", "state"])];
    for (node, told) in &survey.nodes {
        let share = format!("{:.1} %", node.slots as f64 * 100.0 / SLOT_COUNT as f64);
        let known = told.as_ref().ok();
        let number = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
        let field = |name: &str| known.and_then(|told| told.info.get(name)).map_or("-", String::as_str);
        rows.push(vec![
            format!("{}{}", short(&node.id), if node.myself { "*" } else { "" }),
            node.address.clone(),
            node.slots.to_string(),
            share,
            number(known.and_then(|told| told.keys)),
            known.and_then(|told| told.memory_bytes).map_or_else(|| "-".to_owned(), bytes),
            field("cluster_table_version").to_owned(),
            role(survey, node).to_owned(),
            match told {
                Ok(_) => field("cluster_phase").to_owned(),
                Err(why) => why.clone(),
            },
        ]);
    }
    rows
}

fn role(survey: &Survey, node: &NodeSeen) -> &'static str {
    let votes = survey.field("cluster_voters").split(',').any(|id| id == node.id);
    match (survey.field("cluster_leader") == node.id, votes) {
        (true, _) => "leader",
        (false, true) => "voter",
        (false, false) => "-",
    }
}

fn move_rows(moves: &[&MoveTold]) -> Vec<Vec<String>> {
    let mut rows = vec![row(["move", "slots", "from", "to", "keys", "of", "sent", "took", "left"])];
    for movement in moves {
        rows.push(vec![
            movement.id.clone(),
            movement.slots.clone(),
            short(&movement.from),
            short(&movement.to),
            movement.keys.to_string(),
            movement.keys_total.to_string(),
            bytes(movement.bytes),
            seconds(movement.elapsed_ms),
            movement.left_ms().map_or_else(|| "-".to_owned(), seconds),
        ]);
    }
    rows
}

fn row<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

fn seconds(ms: u64) -> String {
    format!("{:.1} s", ms as f64 / 1000.0)
}

fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// Columns as wide as their widest cell, two spaces apart.
fn table(rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        widths.resize(widths.len().max(row.len()), 0);
        row.iter().zip(&mut widths).for_each(|(cell, width)| *width = (*width).max(cell.chars().count()));
    }
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// For programs: one object, one line.
pub fn json(survey: &Survey) -> String {
    let voters = survey.field("cluster_voters").split(',').filter(|id| !id.is_empty()).map(quoted);
    let mut cluster = Object::default();
    cluster.text("state", survey.field("cluster_state"));
    cluster.text("name", survey.field("cluster_name"));
    cluster.text("id", survey.field("cluster_id"));
    cluster.text("phase", survey.field("cluster_phase"));
    cluster.text("why", survey.field("cluster_why"));
    cluster.text("leader", survey.field("cluster_leader"));
    cluster.list("voters", voters);
    for (name, field) in [
        ("term", "cluster_term"),
        ("version", "cluster_table_version"),
        ("generation", "cluster_generation"),
        ("slots_assigned", "cluster_slots_assigned"),
        ("slots_displaced", "cluster_slots_displaced"),
        ("moves_under_way", "cluster_moves"),
    ] {
        cluster.number(name, survey.field(field).parse().ok());
    }
    cluster.number("nodes_agreeing", Some(survey.agreeing() as u64));
    cluster.list("nodes", survey.nodes.iter().map(|(node, told)| node_json(survey, node, told)));
    cluster.list("moves", survey.moves().map(move_json));
    cluster.finish() + "\n"
}

fn node_json(survey: &Survey, node: &NodeSeen, told: &Result<Told, String>) -> String {
    let known = told.as_ref().ok();
    let field = |name: &str| known.and_then(|told| told.info.get(name)).map(String::as_str);
    let mut object = Object::default();
    object.text("id", &node.id);
    object.text("address", &node.address);
    object.text("role", role(survey, node));
    object.number("slots", Some(node.slots as u64));
    object.list("ranges", node.ranges.iter().map(|range| quoted(range)));
    object.number("keys", known.and_then(|told| told.keys));
    object.number("memory_bytes", known.and_then(|told| told.memory_bytes));
    object.number("version", field("cluster_table_version").and_then(|version| version.parse().ok()));
    object.text("state", field("cluster_state").unwrap_or_default());
    object.text("phase", field("cluster_phase").unwrap_or_default());
    object.text("error", told.as_ref().err().map_or("", String::as_str));
    object.finish()
}

fn move_json(movement: &MoveTold) -> String {
    let mut object = Object::default();
    object.text("id", &movement.id);
    object.text("slots", &movement.slots);
    object.text("from", &movement.from);
    object.text("to", &movement.to);
    object.number("keys", Some(movement.keys));
    object.number("keys_total", Some(movement.keys_total));
    object.number("bytes", Some(movement.bytes));
    object.number("elapsed_ms", Some(movement.elapsed_ms));
    object.number("left_ms", movement.left_ms());
    object.finish()
}

/// A JSON object in the making.
#[derive(Default)]
struct Object(Vec<String>);

impl Object {
    fn member(&mut self, name: &str, value: String) {
        self.0.push(format!("{}:{value}", quoted(name)));
    }

    fn text(&mut self, name: &str, value: &str) {
        self.member(name, quoted(value));
    }

    fn number(&mut self, name: &str, value: Option<u64>) {
        self.member(name, value.map_or_else(|| "null".to_owned(), |value| value.to_string()));
    }

    fn list(&mut self, name: &str, values: impl Iterator<Item = String>) {
        self.member(name, format!("[{}]", values.collect::<Vec<_>>().join(",")));
    }

    fn finish(self) -> String {
        format!("{{{}}}", self.0.join(","))
    }
}

/// A JSON string.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            control if control < ' ' => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::{bytes, quoted, table};

    #[test]
    fn texts_are_escaped_and_tables_are_even() {
        assert_eq!(quoted("a\"b\\c\n\u{e9}"), "\"a\\\"b\\\\c\\u000a\u{e9}\"");
        assert_eq!((bytes(1023), bytes(1536)), ("1023 B".to_owned(), "1.5 KiB".to_owned()));
        let rows = [["a", "long"], ["longer", ""]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&rows), "a       long\nlonger\n");
    }
}
