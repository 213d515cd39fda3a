//! `tracing` events of the code under test, as lines of the trace.
//!
//! Kit-owned. Students who write `tracing::info!(...)` find their lines in the trace, with node and
//! virtual time. Nobody listens while no trace is recorded, so such a line then costs next to nothing.

use std::fmt::{Debug, Write as _};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{self, DefaultGuard};
use tracing::{Metadata, Subscriber};

use super::What;
use crate::kernel::current;

/// Has the events of this OS thread noted in the trace until the guard is dropped.
pub(crate) fn listen() -> DefaultGuard {
    subscriber::set_default(Listener)
}

/// Takes events and ignores spans.
struct Listener;

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event()
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let Some(kernel) = current() else { return };
        let mut line = Line(format!("{}:", event.metadata().level()));
        event.record(&mut line);
        kernel.emit(&What::Note { node: kernel.my_node(), text: &line.0 });
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

/// An event as text: its message, then its other fields.
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let written = match field.name() {
            "message" => write!(self.0, " {value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
        written.expect("writing to a String cannot fail");
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}
