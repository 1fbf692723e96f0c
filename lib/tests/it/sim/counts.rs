//! What was injected and what happened, so that a fault that silently never occurs shows.

use std::fmt;

macro_rules! counts {
    ($($name:ident),* $(,)?) => {
        /// Numbers of one run, or the sums of many.
        #[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
        pub(crate) struct Counts {
            $(pub(crate) $name: u64,)*
            /// The longest time from calm to settled.
            pub(crate) longest_settling: u64,
        }

        impl Counts {
            pub(crate) fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
                self.longest_settling = self.longest_settling.max(other.longest_settling);
            }

            /// Names and numbers, those that were counted nowhere included.
            pub(crate) fn rows(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }
        }
    };
}

counts! {
    steps, frames, lost, twice, reordered, cut, unlinked, to_nobody,
    crashes, crashed_in_send, crashed_joiners, half_open, restarted, restored, syncs, partitions, stops, jumps, sponsors_lost,
    starts_apart, retirements, gaps, gap_dots, gap_dots_kept, purged_orphans, closed_alive,
    starts, founders, joins, leaves, exits, links_up, links_down, refused_dials,
    sends, bursts, windows_full, replies, deliveries, held,
    pushes, pushed, clock_entries, restarts, pulls, pulled, gone, never,
    beats, views, asks, sponsors, greets,
    silent, resumed, closed, reopened, lagging, acks, spurious_ticks, settling_us,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, (name, number)) in self.rows().into_iter().enumerate() {
            let end = if nth % 5 == 4 { "\n" } else { "  " };
            write!(f, "{name:>14} {number:>9}{end}")?;
        }
        writeln!(
            f,
            "\nlongest time from calm to settled: {} ms",
            self.longest_settling / 1000
        )
    }
}
