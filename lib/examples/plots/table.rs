//! The mesh benchmark as a table for people: ours beside the floors, with machine, commit and day.

use serde_json::Value;

/// Markdown; nothing, if there are no results.
pub(crate) fn table(report: &Value) -> Option<String> {
    let scenarios = report["results"]["scenarios"]
        .as_array()
        .filter(|all| !all.is_empty())?;
    let machine = &report["machine"];
    let mut out = format!(
        "# `cargo bench -p multicast --bench mesh`\n\n\
         {} ({} cores), {}, {}; commit {}, {}. Medians of {} rounds, and what ours is as a part of each\n\
         floor's in the same round; processor time a delivery in microseconds, latency in microseconds.\n\n\
         | | multicast | of raw TCP | of tarpc, flat blob | of tarpc, byte buffers | processor time, of flat blob | wire bytes | p50, of flat blob | p99, of flat blob |\n\
         |---|---|---|---|---|---|---|---|---|\n",
        text(&machine["cpu"]),
        machine["cpus"],
        text(&machine["kernel"]),
        text(&machine["rustc"]),
        text(&report["commit"]),
        day(report["unix_time"].as_u64().unwrap_or(0)),
        report["rounds"],
    );
    for scenario in scenarios {
        out += &row(scenario);
    }
    let failed = report["results"]["failed"].as_array().into_iter().flatten();
    for failure in failed {
        out += &format!("\n{}: {}\n", text(&failure["name"]), text(&failure["error"]));
    }
    Some(out)
}

fn row(scenario: &Value) -> String {
    let of = |name: &str| {
        let mut contestants = scenario["contestants"].as_array().into_iter().flatten();
        contestants
            .find(|contestant| contestant["name"] == name)
            .cloned()
            .unwrap_or_default()
    };
    let (ours, blob) = (of("multicast"), of("tarpc, flat blob"));
    let figure = |name: &str| ours["figures"][name]["median"].as_f64();
    let part = |of: &Value, name: &str| of["ours_to_this"][name]["median"].as_f64();
    let rate = figure("deliveries_per_s").map_or(String::new(), |rate| match rate {
        rate if rate < 10_000.0 => format!("{rate:.0}/s"),
        rate => format!("{:.3} M/s", rate / 1e6),
    });
    let cell = |value: Option<f64>, digits: usize| value.map_or(String::new(), |value| format!("{value:.digits$}"));
    let both = |name: &str, unit: f64, digits: usize| match (figure(name), part(&blob, name)) {
        (Some(ours), Some(part)) => format!("{:.digits$}, {part:.2}", ours * unit),
        _ => String::new(),
    };
    let raw = part(&of("raw TCP"), "deliveries_per_s");
    let buffers = part(&of("tarpc, byte buffers"), "deliveries_per_s");
    format!(
        "| {} | {rate} | {} | {} | {} | {} | {} | {} | {} |\n",
        text(&scenario["title"]),
        cell(raw, 2),
        cell(part(&blob, "deliveries_per_s"), 2),
        cell(buffers, 2),
        both("cpu_s_per_million", 1.0, 2),
        cell(figure("wire_bytes_per_delivery"), 1),
        both("latency_p50_us", 1.0, 0),
        both("latency_p99_us", 1.0, 0),
    )
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The date of a time in seconds since 1970, in UTC (Hinnant's days-to-civil).
fn day(unix_time: u64) -> String {
    let days = (unix_time / 86_400) as i64 + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year}-{month:02}-{day:02}")
}
