//! Tables for people, in a terminal or on a page, and for programs.

/// Rows of as many cells as the head has, or of a name and a remark.
#[derive(Clone, Debug)]
pub struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(head: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { head: head.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        let cells: Vec<_> = cells.into_iter().map(Into::into).collect();
        debug_assert_eq!(cells.len(), self.head.len());
        self.rows.push(cells);
    }

    /// A row that has a few words in place of figures.
    pub fn remark(&mut self, name: &str, remark: &str) {
        self.rows.push(vec![name.to_owned(), remark.to_owned()]);
    }

    /// Names to the left, figures to the right.
    pub fn text(&self) -> String {
        let width = |column: usize| {
            let figures = self.rows.iter().filter(|row| self.is_whole(row));
            let names = self.rows.iter().filter(|_| column == 0);
            let all = figures.chain(names).chain([&self.head]);
            all.map(|row| row[column].chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..self.head.len()).map(width).collect();
        let mut text = String::new();
        for row in [&self.head].into_iter().chain(&self.rows) {
            let mut line = format!("  {:<width$}", row[0], width = widths[0]);
            for (cell, width) in row.iter().zip(&widths).skip(1) {
                match self.is_whole(row) {
                    true => line += &format!("  {cell:>width$}"),
                    false => line += &format!("  {cell}"),
                }
            }
            text += line.trim_end();
            text.push('\n');
        }
        text
    }

    pub fn markdown(&self) -> String {
        let line = |row: &[String]| format!("| {} |\n", row.join(" | "));
        let mut text = line(&self.head);
        text += &format!("|---|{}\n", "---:|".repeat(self.head.len() - 1));
        for row in &self.rows {
            let mut row = row.clone();
            row.resize(self.head.len(), String::new());
            text += &line(&row);
        }
        text
    }

    /// What has no figures is not in it.
    pub fn csv(&self) -> String {
        let figures = self.rows.iter().filter(|row| self.is_whole(row));
        [&self.head].into_iter().chain(figures).map(|row| row.join(",") + "\n").collect()
    }

    fn is_whole(&self, row: &[String]) -> bool {
        row.len() == self.head.len()
    }
}

/// Groups of three: 1,234,567.
pub fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(["who", "ns", "cpu"]);
        table.row(["a", "1.5", "10"]);
        table.remark("other", "has nothing of the kind");
        table
    }

    #[test]
    fn for_a_terminal() {
        let wanted = "  who     ns  cpu\n  a      1.5   10\n  other  has nothing of the kind\n";
        assert_eq!(table().text(), wanted);
    }

    #[test]
    fn for_a_page() {
        let wanted = "| who | ns | cpu |\n|---|---:|---:|\n| a | 1.5 | 10 |\n\
                      | other | has nothing of the kind |  |\n";
        assert_eq!(table().markdown(), wanted);
    }

    #[test]
    fn for_programs() {
        assert_eq!(table().csv(), "who,ns,cpu\na,1.5,10\n");
    }

    #[test]
    fn large_figures_are_grouped() {
        assert_eq!([999.0, 1000.0, 1_234_567.4].map(grouped), ["999", "1,000", "1,234,567"]);
    }
}
