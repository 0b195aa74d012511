//! A page of plots: one file of HTML with drawings inside, nothing to load and nothing to run.

use std::fmt::Write;

use serde_json::Value;

use crate::bars::{Bar, Results};
use crate::samples::Summary;

/// Width of the plot, of the names left of it and of the figures right of it, in pixels.
const PLOT: f64 = 560.0;
const NAMES: f64 = 130.0;
const NUMBERS: f64 = 110.0;
/// Height of a row, in pixels.
const ROW: f64 = 26.0;

const STYLE: &str = "body{font:14px sans-serif;max-width:52em;margin:2em auto;color:#222}\
    table{border-collapse:collapse}td{padding:2px 1em 2px 0}.MISS{color:#b00020;font-weight:bold}.pass{color:#1b6e20}\
    text{font:12px sans-serif;fill:#222}";

/// The page; `report` is the same run as JSON, which the page carries along for comparisons.
pub(crate) fn html(results: &Results, bars: &[Bar], report: &Value) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Benchmark</title><style>{STYLE}</style>\n\
         <h1>Benchmark</h1>\n<p>Rounds: {}. Kernel: {}. Load average: {}.{}</p>\n",
        report["rounds"],
        text(&report["kernel"]),
        text(&report["load"]),
        if report["noisy"] == true { " <b>Noisy: only the ratios mean something.</b>" } else { "" },
    );
    page.push_str("<h2>Microseconds: p10 to p90, the median, and p99 as a ring</h2>\n");
    page.push_str(&plot(results));
    page.push_str("<h2>Figures</h2>\n<table>\n");
    for (name, value) in &results.figures {
        page.push_str(&format!("<tr><td>{name}<td>{value:.1}\n"));
    }
    page.push_str("</table>\n<h2>Goals</h2>\n<table>\n");
    for Bar { text, met } in bars {
        let verdict = if *met { "pass" } else { "MISS" };
        page.push_str(&format!("<tr><td class=\"{verdict}\">{verdict}<td>{text}\n"));
    }
    // No `</script>` can be in it: the report has names of our own, numbers, and what the kernel says of itself.
    page.push_str(&format!("</table>\n<script type=\"application/json\">{report}</script>\n</html>\n"));
    page
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Every row as a line on a logarithmic scale, fastest first.
fn plot(results: &Results) -> String {
    let mut rows: Vec<(&str, &Summary)> = results.rows.iter().map(|(name, row)| (*name, row)).collect();
    rows.sort_by(|(_, left), (_, right)| left.p50.total_cmp(&right.p50));
    let Some(scale) = Scale::over(&rows) else { return String::new() };
    let height = ROW * (rows.len() as f64 + 1.0);
    let mut svg = format!("<svg width=\"{}\" height=\"{height}\" role=\"img\">\n", NAMES + PLOT + NUMBERS);
    for decade in scale.decades() {
        let x = scale.x(decade);
        draw(
            &mut svg,
            format_args!(
                "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"0\" y2=\"{}\" stroke=\"#ddd\"/>",
                height - ROW
            ),
        );
        draw(
            &mut svg,
            format_args!("<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{decade}</text>", height - 6.0),
        );
    }
    for (at, (name, row)) in rows.iter().enumerate() {
        let y = ROW * (at as f64 + 0.5);
        let colour = if name.starts_with("gdn") { "#1565c0" } else { "#888" };
        let (left, middle, right, last) =
            (scale.x(row.p10), scale.x(row.p50), scale.x(row.p90), scale.x(row.p99));
        draw(&mut svg, format_args!("<text x=\"0\" y=\"{}\">{name}</text>", y + 4.0));
        draw(
            &mut svg,
            format_args!(
                "<line x1=\"{left:.1}\" x2=\"{right:.1}\" y1=\"{y}\" y2=\"{y}\" stroke=\"{colour}\" stroke-width=\"5\"/>"
            ),
        );
        draw(&mut svg, format_args!("<circle cx=\"{middle:.1}\" cy=\"{y}\" r=\"5\" fill=\"{colour}\"/>"));
        draw(
            &mut svg,
            format_args!("<circle cx=\"{last:.1}\" cy=\"{y}\" r=\"3\" fill=\"none\" stroke=\"{colour}\"/>"),
        );
        draw(
            &mut svg,
            format_args!("<text x=\"{}\" y=\"{}\">{:.0} us</text>", NAMES + PLOT + 14.0, y + 4.0, row.p50),
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw(svg: &mut String, shape: std::fmt::Arguments<'_>) {
    writeln!(svg, "{shape}").expect("a string takes everything");
}

/// Microseconds to pixels, logarithmically.
struct Scale {
    least: f64,
    most: f64,
}

impl Scale {
    /// Whole decades around everything drawn.
    fn over(rows: &[(&str, &Summary)]) -> Option<Self> {
        let least = rows.iter().map(|(_, row)| row.p10).reduce(f64::min)?.log10().floor();
        let most = rows.iter().map(|(_, row)| row.p99).reduce(f64::max)?.log10().ceil();
        Some(Scale { least, most: most.max(least + 1.0) })
    }

    fn x(&self, microseconds: f64) -> f64 {
        NAMES + PLOT * (microseconds.log10() - self.least) / (self.most - self.least)
    }

    fn decades(&self) -> impl Iterator<Item = f64> {
        (self.least as i32..=self.most as i32).map(|power| 10f64.powi(power))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_page_shows_rows_figures_and_missed_goals() {
        let row =
            Summary { count: 9, failures: 0, min: 90.0, p10: 100.0, p50: 150.0, p90: 300.0, p99: 900.0 };
        let results = Results { rows: [("gdn exec", row)].into(), figures: [("stdout MB/s", 512.0)].into() };
        let bars = [Bar { text: "too slow".into(), met: false }];
        let page =
            html(&results, &bars, &json!({"rounds": 9, "kernel": "6.0", "load": "0.1", "noisy": true}));
        for shown in
            ["gdn exec", "150 us", "stdout MB/s<td>512.0", "MISS", "too slow", "Noisy", "Kernel: 6.0"]
        {
            assert!(page.contains(shown), "{shown} is not in {page}");
        }
    }

    #[test]
    fn the_scale_goes_over_whole_decades() {
        let row = |p10, p99| Summary { count: 1, failures: 0, min: p10, p10, p50: p10, p90: p99, p99 };
        let (fast, slow) = (row(150.0, 200.0), row(5_000.0, 20_000.0));
        let scale = Scale::over(&[("fast", &fast), ("slow", &slow)]).unwrap();
        assert_eq!((scale.x(100.0), scale.x(100_000.0)), (NAMES, NAMES + PLOT));
        assert!(Scale::over(&[]).is_none());
    }
}
