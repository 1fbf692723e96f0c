//! Draws what the benchmarks measured: `cargo run -p multicast --example plots`.
//!
//! Reads `bench-engine.json`, `bench-held.json` and `bench-mesh.json` from the build directory, or from the directory
//! that is named on the command line, and writes one SVG a figure, and a table, to `lib/benches/plots`. What was not
//! measured is not drawn.

mod table;

use std::error::Error;
use std::path::{Path, PathBuf};

use plotters::prelude::*;
use serde_json::Value;

const SIZE: (u32, u32) = (640, 400);
const COLORS: [RGBColor; 2] = [RGBColor(0x1f, 0x5f, 0xa8), RGBColor(0xc2, 0x4d, 0x1a)];

/// One figure: what is along its axes, and its lines. Both axes are logarithmic.
struct Figure {
    name: &'static str,
    title: &'static str,
    x: &'static str,
    y: &'static str,
    lines: Vec<Line>,
}

struct Line {
    name: &'static str,
    points: Vec<Point>,
}

/// A median, and how far the rounds lie apart.
struct Point {
    x: f64,
    y: f64,
    low: f64,
    high: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let named = std::env::args_os().nth(1).map(PathBuf::from);
    // target/debug/examples/plots
    let built = std::env::current_exe()?.ancestors().nth(3).map(PathBuf::from);
    let from = named.or(built).ok_or("where are the results?")?;
    let to = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/plots");
    std::fs::create_dir_all(&to)?;
    let [engine, held, mesh] = ["engine", "held", "mesh"].map(|bench| report(&from, bench));
    if let Some(table) = table::table(&mesh) {
        let path = to.join("mesh.md");
        std::fs::write(&path, table)?;
        println!("{}", path.display());
    }
    let [engine, held, mesh] = [engine, held, mesh].map(|mut report| report["results"].take());
    for figure in figures(&engine, &held, &mesh) {
        if figure.lines.iter().any(|line| line.points.len() > 1) {
            let path = to.join(figure.name);
            draw(&figure, &path)?;
            println!("{}", path.display());
        }
    }
    Ok(())
}

/// What a benchmark wrote; null, with a word, if it did not.
fn report(from: &Path, bench: &str) -> Value {
    let path = from.join(format!("bench-{bench}.json"));
    let read = std::fs::read_to_string(&path).map_err(|error| error.to_string());
    let parsed = read.and_then(|text| serde_json::from_str::<Value>(&text).map_err(|error| error.to_string()));
    match parsed {
        Ok(report) => report,
        Err(error) => {
            eprintln!("{}: {error}", path.display());
            Value::Null
        }
    }
}

fn figures(engine: &Value, held: &Value, mesh: &Value) -> [Figure; 4] {
    let backlog = held
        .as_array()
        .into_iter()
        .flatten()
        .filter(|row| row["chain"] == 10_000);
    let backlog = Value::from(backlog.cloned().collect::<Vec<_>>());
    let line = |name, rows: &Value, x: &str, y: &str| Line {
        name,
        points: points(rows, x, y),
    };
    let (sizes, memory) = (&engine["members"], &mesh["memory"]);
    [
        Figure {
            name: "engine-time.svg",
            title: "Engine time a delivery, 4 clock entries changed",
            x: "members",
            y: "ns",
            lines: vec![
                line("full clock read", sizes, "members", "ns_per_delivery"),
                line("clock not read", sizes, "members", "ns_per_delivery_unread"),
            ],
        },
        Figure {
            name: "stamp-bytes.svg",
            title: "Bytes of a stamp on the wire",
            x: "members",
            y: "bytes",
            lines: vec![
                line("4 entries changed", sizes, "members", "stamp_bytes"),
                line("first of a stream: full clock", sizes, "members", "full_stamp_bytes"),
            ],
        },
        Figure {
            name: "memory.svg",
            title: "Memory a member, links to all others included",
            x: "members",
            y: "KiB",
            lines: vec![
                line("joined", memory, "members", "idle_kib_per_member"),
                line("under load, log full", memory, "members", "loaded_kib_per_member"),
            ],
        },
        Figure {
            name: "held.svg",
            title: "Holding and releasing a message in a chain of 10,000",
            x: "other messages held (0 is drawn at 1)",
            y: "ns",
            lines: vec![line("time a message", &backlog, "backlog", "ns_per_message")],
        },
    ]
}

/// From rows of numbers, or of medians with their spread.
fn points(rows: &Value, x: &str, y: &str) -> Vec<Point> {
    let point = |row: &Value| {
        let (x, y) = (row[x].as_f64()?.max(1.0), &row[y]);
        let figure = |name: &str| y.as_f64().or_else(|| y[name].as_f64());
        Some(Point {
            x,
            y: figure("median")?,
            low: figure("min")?,
            high: figure("max")?,
        })
    };
    rows.as_array().into_iter().flatten().filter_map(point).collect()
}

fn draw(figure: &Figure, path: &Path) -> Result<(), Box<dyn Error>> {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let all = || figure.lines.iter().flat_map(|line| &line.points);
    let (left, right) = all().fold((f64::MAX, 0.0f64), |(low, high), point| {
        (low.min(point.x), high.max(point.x))
    });
    let top = all().fold(0.0f64, |high, point| high.max(point.high));
    let bottom = all().fold(f64::MAX, |low, point| low.min(point.low));
    let x = (left * 0.9..right * 1.1).log_scale();
    // Whole decades, with room above for the names of the lines: what is flat then looks flat.
    let decade = |number: f64| 10f64.powf(number);
    let y = (decade((bottom / 1.5).log10().floor())..decade((top * 4.0).log10().ceil())).log_scale();
    let mut chart = ChartBuilder::on(&root)
        .caption(figure.title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(64)
        .build_cartesian_2d(x, y)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc(figure.x)
        .y_desc(figure.y)
        .x_label_formatter(&|number| number.round().to_string())
        .y_label_formatter(&|number| number.round().to_string())
        .draw()?;
    for (line, color) in figure.lines.iter().zip(COLORS) {
        let points = line.points.iter().map(|point| (point.x, point.y));
        chart
            .draw_series(LineSeries::new(points, color.stroke_width(2)).point_size(3))?
            .label(line.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2)));
        let spread = |point: &Point| PathElement::new([(point.x, point.low), (point.x, point.high)], color);
        chart.draw_series(line.points.iter().map(spread))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .draw()?;
    root.present()?;
    Ok(())
}
