//! Tables and verdicts as they are printed: Markdown, so that a table can go into the README as it stands.
//! It must never decide what is measured.

/// Rows under a header, columns aligned when printed.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table with these column names.
    pub fn new(header: &[&str]) -> Self {
        Self { rows: vec![header.iter().map(|name| (*name).to_owned()).collect()] }
    }

    /// Adds a row; missing cells at its end are printed empty.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Prints the table to standard output.
    pub fn print(&self) {
        let columns = self.rows[0].len();
        let cell = |row: &[String], column: usize| row.get(column).cloned().unwrap_or_default();
        let width =
            |column: usize| self.rows.iter().map(|row| cell(row, column).chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (index, row) in self.rows.iter().enumerate() {
            let cells: Vec<String> = (0..columns)
                .map(|column| {
                    let fill = " ".repeat(widths[column] - cell(row, column).chars().count());
                    if column == 0 { cell(row, column) + &fill } else { fill + &cell(row, column) }
                })
                .collect();
            println!("| {} |", cells.join(" | "));
            if index == 0 {
                let side = |column| if column == 0 { "-" } else { ":" };
                let rule = |column| "-".repeat(widths[column] - 1) + side(column);
                let rules: Vec<String> = (0..columns).map(rule).collect();
                println!("| {} |", rules.join(" | "));
            }
        }
        println!();
    }
}

/// Prints one line that compares a measured figure with the largest value that its goal allows.
pub fn verdict(what: &str, measured: f64, at_most: f64) {
    let word = if measured <= at_most { "reached" } else { "MISSED" };
    let off =
        if at_most > 0.0 { format!(", {:+.1} %", (measured / at_most - 1.0) * 100.0) } else { String::new() };
    println!("goal {word}: {what} {measured:.3} (at most {at_most}{off})");
}

/// Says on standard error what has just been measured: a table is printed when all of it is there.
pub fn progress(text: &str) {
    eprintln!("  … {text}");
}

/// Prints a section's title.
pub fn title(text: &str) {
    println!("\n## {text}\n");
}

/// The median; 0 when there is none.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        length if length % 2 == 1 => sorted[middle],
        _ => (sorted[middle - 1] + sorted[middle]) / 2.0,
    }
}

/// Bytes as mebibytes with one digit.
pub fn mebibytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1_048_576.0)
}
