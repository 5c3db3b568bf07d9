//! `bench chart FILE`: a chart of what `bench amqp --csv FILE` has written, as SVG.
//!
//! A panel per bench, a line per client, a dot where its CPU time is on a logarithmic scale: a bar
//! has no length there that means anything.

use std::fmt::Write;
use std::process::ExitCode;

use crate::Result;
use crate::options::of_file;

const PANELS: [(&str, &str); 5] = [
    ("publish", "Publish"),
    ("confirm", "Publish, confirmed"),
    ("consume", "Consume"),
    ("consume_ack", "Consume, acknowledge each"),
    ("rpc", "One message, and back before the next"),
];

const WIDTH: f64 = 860.0;
const MARGIN: f64 = 20.0;
const PANEL: f64 = 400.0;
/// Of a panel: where the scale begins and how long it is.
const SCALE: f64 = 130.0;
const LENGTH: f64 = 215.0;
const LINE: f64 = 20.0;
/// Above the panels, and in a panel above and below its lines.
const TITLE: f64 = 62.0;
const HEAD: f64 = 26.0;
const FOOT: f64 = 36.0;

/// For readers of light pages and of dark ones.
const STYLE: &str = "\
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.title { font-size: 16px; font-weight: 600 }
.head, .own { font-weight: 600 }
.note { fill: #59636e }
.page { fill: #ffffff }
.grid { stroke: #d1d9e0 }
.peer { fill: #6e7781 }
circle.own, text.own { fill: #0550ae }
.limit { fill: none; stroke: #6e7781; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.note { fill: #9198a1 }
.page { fill: #0d1117 }
.grid { stroke: #30363d }
.peer { fill: #8b949e }
circle.own, text.own { fill: #58a6ff }
.limit { stroke: #8b949e }
}
";

pub fn main(arguments: pico_args::Arguments) -> Result<ExitCode> {
    let files = arguments.finish();
    let [file] = &files[..] else { return Err("chart FILE".into()) };
    let csv = std::fs::read_to_string(file).map_err(|error| of_file(file.as_ref(), error))?;
    print!("{}", draw(&csv)?);
    Ok(ExitCode::SUCCESS)
}

struct Panel {
    title: &'static str,
    /// Clients and their microseconds a message, the cheapest first.
    rows: Vec<(String, f64)>,
}

fn draw(csv: &str) -> Result<String> {
    let mut panels = Vec::new();
    for (bench, title) in PANELS {
        let rows = rows(csv, bench)?;
        if !rows.is_empty() {
            panels.push(Panel { title, rows });
        }
    }
    let values = || panels.iter().flat_map(|panel| &panel.rows).map(|&(_, value)| value.log10());
    let (Some(least), Some(most)) = (values().reduce(f64::min), values().reduce(f64::max)) else {
        return Err("there is nothing in it to be drawn".into());
    };
    let decades = (least.floor() as i32, (most.ceil() as i32).max(least.floor() as i32 + 1));

    let mut body = String::new();
    let mut top = TITLE;
    for pair in panels.chunks(2) {
        for (panel, column) in pair.iter().zip([0.0, 1.0]) {
            let left = MARGIN + column * (WIDTH - 2.0 * MARGIN - PANEL);
            panel.draw(&mut body, left, top, decades)?;
        }
        let lines = pair.iter().map(|panel| panel.rows.len()).max().unwrap_or(0);
        top += HEAD + lines as f64 * LINE + FOOT;
    }
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {top}\" role=\"img\" \
         aria-labelledby=\"title\">\n<title id=\"title\">CPU time of AMQP clients per message of \
         100 bytes</title>\n<style>\n{STYLE}</style>\n<rect class=\"page\" width=\"100%\" \
         height=\"100%\" rx=\"6\"/>\n<text class=\"title\" x=\"{MARGIN}\" y=\"28\">CPU time per \
         message of 100 bytes</text>\n<text class=\"note\" x=\"{MARGIN}\" y=\"48\">Microseconds on a \
         logarithmic scale, further left is better. raw: bytes encoded before, no \
         client.</text>\n{body}</svg>\n"
    ))
}

/// Of small messages.
fn rows(csv: &str, bench: &str) -> Result<Vec<(String, f64)>> {
    let mut rows = Vec::new();
    for line in csv.lines() {
        let cells: Vec<_> = line.split(',').collect();
        if let [name, who, _, "100", _, cpu] = cells[..]
            && name == bench
        {
            rows.push((who.to_owned(), cpu.parse::<f64>()?));
        }
    }
    if rows.iter().any(|&(_, cpu)| cpu <= 0.0) {
        return Err("CPU time is more than nothing".into());
    }
    rows.sort_by(|a, b| a.1.total_cmp(&b.1));
    Ok(rows)
}

impl Panel {
    fn draw(&self, svg: &mut String, left: f64, top: f64, (low, high): (i32, i32)) -> Result<()> {
        let at = |log: f64| left + SCALE + LENGTH * (log - f64::from(low)) / f64::from(high - low);
        let first = top + HEAD;
        let bottom = first + self.rows.len() as f64 * LINE;
        let title = self.title;
        writeln!(svg, "<text class=\"head\" x=\"{left}\" y=\"{:.1}\">{title}</text>", top + 12.0)?;
        for decade in low..=high {
            let x = at(decade.into());
            let label = format!("{:.*}", (-decade).max(0) as usize, 10f64.powi(decade));
            writeln!(
                svg,
                "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{first:.1}\" \
                 y2=\"{bottom:.1}\"/><text class=\"note\" text-anchor=\"middle\" x=\"{x:.1}\" \
                 y=\"{:.1}\">{label}</text>",
                bottom + 14.0
            )?;
        }
        for (index, (who, cpu)) in self.rows.iter().enumerate() {
            let middle = first + (index as f64 + 0.5) * LINE;
            let class = match who.as_str() {
                "haypile" => "own",
                "raw" => "limit",
                _ => "peer",
            };
            // What a dot is filled with is not for text.
            let text = if class == "own" { "own" } else { "who" };
            let (x, baseline) = (at(cpu.log10()), middle + 4.0);
            let decimals = if *cpu < 1.0 { 3 } else { 1 };
            writeln!(
                svg,
                "<text class=\"{text}\" x=\"{left}\" y=\"{baseline:.1}\">{who}</text><circle \
                 class=\"{class}\" cx=\"{x:.1}\" cy=\"{middle:.1}\" r=\"5\"/><text \
                 class=\"{text}\" text-anchor=\"end\" x=\"{:.1}\" \
                 y=\"{baseline:.1}\">{cpu:.decimals$}</text>",
                left + PANEL
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CSV: &str = "bench,who,messages,size,rate_per_second,cpu_us_per_message\n\
                       publish,lapin,1000,100,100000,8.5\n\
                       publish,haypile,1000,100,10000000,0.08\n\
                       publish_64k,haypile,1000,65536,10000,9.1\n";

    #[test]
    fn the_cheapest_is_first_and_other_sizes_are_left_out() {
        let wanted = [("haypile".to_owned(), 0.08), ("lapin".to_owned(), 8.5)];
        assert_eq!(rows(CSV, "publish").unwrap(), wanted);
        assert_eq!(rows(CSV, "confirm").unwrap(), []);
    }

    #[test]
    fn a_dot_is_where_its_logarithm_is() {
        let svg = draw(CSV).unwrap();
        // Three decades, from 0.01 to 10.
        let x = MARGIN + SCALE + LENGTH * (0.08f64.log10() + 2.0) / 3.0;
        assert!(svg.contains(&format!("class=\"own\" cx=\"{x:.1}\"")), "{svg}");
    }

    #[test]
    fn a_file_with_no_figures_is_an_error() {
        assert!(draw("bench,who\n").is_err());
    }
}
