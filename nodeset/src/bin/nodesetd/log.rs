//! The log, on standard error.

use std::fmt;
use std::io;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::prelude::*;
use tracing_subscriber::registry::LookupSpan;

use crate::flags::{LogFormat, ServeFlags};

/// The target of the first line, which is printed whatever the level.
pub(crate) const LISTENING: &str = "nodesetd::listening";

pub(crate) fn start(flags: &ServeFlags) {
    let level = match i16::from(flags.verbose) - i16::from(flags.quiet) {
        ..=-3 => LevelFilter::OFF,
        -2 => LevelFilter::ERROR,
        -1 => LevelFilter::WARN,
        0 => LevelFilter::INFO,
        1 => LevelFilter::DEBUG,
        2.. => LevelFilter::TRACE,
    };
    // At INFO tarpc logs every call, which doubles what a call costs; and whatever it has to say
    // about the end of a connection, the server says in its own words.
    let of_tarpc = match level {
        LevelFilter::TRACE => LevelFilter::DEBUG,
        LevelFilter::DEBUG => LevelFilter::WARN,
        _ => LevelFilter::OFF,
    };
    let filter = Targets::new()
        .with_default(level)
        .with_target("tarpc", of_tarpc)
        .with_target(LISTENING, Level::INFO);
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(false)
        .log_internal_errors(false); // a closed standard error is no reason to die
    let layer = match flags.log_format {
        LogFormat::Text => layer.event_format(Bare).boxed(),
        LogFormat::Json => {
            let json = layer.json().flatten_event(true);
            json.with_current_span(false).with_span_list(false).boxed()
        }
    };
    tracing_subscriber::registry().with(layer.with_filter(filter)).init();
}

/// The bare message; what is not ordinary has its level in front. Fields are for the JSON form.
struct Bare;

impl<S, N> FormatEvent<S, N> for Bare
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let before = match *event.metadata().level() {
            Level::ERROR => "error: ",
            Level::WARN => "warning: ",
            Level::INFO => "",
            Level::DEBUG => "debug: ",
            Level::TRACE => "trace: ",
        };
        let mut message = Message(String::new());
        event.record(&mut message);
        writeln!(writer, "{before}{}", nodeset::printable(&message.0))
    }
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}
