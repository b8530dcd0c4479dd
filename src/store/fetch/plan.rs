//! Who brings which bytes: the decisions of a fetch, without threads, clocks or disks.
//!
//! A *lane* is one transfer: it brings bytes from where it began, in order. The first begins at the file's front, or,
//! where the service is known to honour ranges, at what was asked for. A lane goes on as far as it is wanted and a
//! window beyond, so that who looks at a file's beginning does not move all of it; the window grows with what was read
//! of the lane, so that who reads on never waits for more than the network.

use std::ops::Range;

use super::intervals::Intervals;

/// The least that a lane runs ahead of what is wanted of it.
pub(super) const WINDOW: u64 = 2 << 20;

/// A byte so near ahead of a lane is waited for: a request of its own would take about as long, and requests are
/// scarce.
pub(super) const NEAR: u64 = 4 << 20;

/// A lane that meets bytes that are here reads over so many to what is missing behind them; one that begins brings as
/// many that are missing before what is wanted.
const SKIPPED: u64 = 1 << 20;

/// How many bytes of what is here are asked for again where a transfer is taken up, to be compared.
pub(super) const OVERLAP: u64 = 4096;

/// How many lanes a fetch has at most.
const LANES: usize = 4;

/// A lane's name within its fetch.
pub(super) type LaneId = u64;

#[derive(Debug)]
struct Lane {
    id: LaneId,
    /// Where it was to begin to bring bytes.
    from: u64,
    /// The next byte it brings. Before `from` where the service sends more than it was asked for, and for the overlap.
    front: u64,
    /// How far it goes before it waits to be wanted.
    target: u64,
}

/// What is here and on its way.
#[derive(Debug)]
pub(super) struct Plan {
    size: u64,
    here: Intervals,
    lanes: Vec<Lane>,
    next_lane: LaneId,
    /// Whether the service honours ranges; `None` before it has answered.
    honours_ranges: Option<bool>,
}

/// How bytes will come that are not here.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// By a lane that is there; or it has to be seen: the service has not answered yet, or no lane is free.
    Wait,
    /// By this new lane.
    Open(LaneId),
}

/// What a lane does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Bring more.
    Bring,
    /// Wait until it is wanted.
    Rest,
    /// There is nothing more for it to bring.
    End,
}

impl Plan {
    pub(super) fn new(size: u64, honours_ranges: Option<bool>) -> Self {
        Self {
            size,
            here: Intervals::default(),
            lanes: Vec::new(),
            next_lane: 0,
            honours_ranges,
        }
    }

    pub(super) fn here(&self) -> &Intervals {
        &self.here
    }

    pub(super) fn honours_ranges(&self) -> Option<bool> {
        self.honours_ranges
    }

    pub(super) fn is_whole(&self) -> bool {
        self.here.contains(&(0..self.size))
    }

    /// How many bytes are missing.
    pub(super) fn left(&self) -> u64 {
        self.size - self.here.total()
    }

    /// From the first byte that is missing to the file's end.
    pub(super) fn rest(&self) -> Range<u64> {
        self.here.first_missing(0)..self.size
    }

    /// Whether anything is to come, as far as is wanted now.
    pub(super) fn is_moving(&self) -> bool {
        self.lanes.iter().any(|lane| !lane.rests())
    }

    pub(super) fn has_lanes(&self) -> bool {
        !self.lanes.is_empty()
    }

    /// How a range will be had of which something is missing, and notes that it is wanted. Who has waited too long for
    /// a free lane takes the place of the oldest.
    pub(super) fn way(&mut self, wanted: &Range<u64>, has_waited_long: bool) -> Way {
        let at = self.here.first_missing(wanted.start);
        if let Some(lane) = self.lane_to(at) {
            self.lanes[lane].want(wanted.end);
            return Way::Wait;
        }
        match self.honours_ranges {
            Some(true) => {}
            None if !self.lanes.is_empty() => return Way::Wait,
            Some(false) | None => return self.open(0, wanted.end),
        }
        if self.lanes.len() == LANES {
            let resting = self.lanes.iter().position(Lane::rests);
            match resting.or(has_waited_long.then_some(0)) {
                Some(lane) => drop(self.lanes.remove(lane)),
                None => return Way::Wait,
            }
        }
        // Reads come in any order, and what is left out would be a request of its own.
        let gap = self.here.gap_before(at);
        let from = if at - gap <= SKIPPED { gap } else { at };
        self.open(from, wanted.end)
    }

    /// Whether a lane is on its way to what is missing of a range.
    pub(super) fn is_coming(&self, wanted: &Range<u64>) -> bool {
        self.lane_to(self.here.first_missing(wanted.start))
            .is_some()
    }

    /// The lane that will bring a byte soon enough: the nearest before it.
    fn lane_to(&self, at: u64) -> Option<usize> {
        let waits_for_any = self.honours_ranges == Some(false);
        let lanes = self.lanes.iter().enumerate();
        lanes
            .filter(|(_, lane)| {
                lane.front <= at
                    && (waits_for_any || at - lane.front.max(lane.from.min(at)) <= NEAR)
            })
            .max_by_key(|(_, lane)| lane.front)
            .map(|(n, _)| n)
    }

    fn open(&mut self, from: u64, until: u64) -> Way {
        let id = self.next_lane;
        self.next_lane += 1;
        let mut lane = Lane {
            id,
            from,
            front: from,
            target: 0,
        };
        lane.want(until);
        self.lanes.push(lane);
        Way::Open(id)
    }

    /// Bytes up to `until` were read: whoever brings what follows them goes on. Whether somebody rested who does not now.
    pub(super) fn was_read(&mut self, until: u64) -> bool {
        let front = self.here.first_missing(until);
        let mut wakes = false;
        for lane in self.lanes.iter_mut().filter(|lane| lane.front == front) {
            let rested = lane.rests();
            lane.want(until);
            wakes |= rested && !lane.rests();
        }
        wakes
    }

    /// What a lane does next. One that was ended is to end.
    pub(super) fn next(&self, id: LaneId) -> Next {
        let Some(lane) = self.lane(id) else {
            return Next::End;
        };
        if lane.front >= self.size || self.is_whole() {
            return Next::End;
        }
        let missing = self.here.first_missing(lane.front);
        let reads_over = missing - lane.front <= SKIPPED || self.honours_ranges != Some(true);
        if lane.front >= lane.from && (missing >= self.size || !reads_over) {
            return Next::End;
        }
        if lane.rests() {
            Next::Rest
        } else {
            Next::Bring
        }
    }

    /// Where a lane takes its work up again: the first byte it has not brought.
    pub(super) fn resumes_at(&self, id: LaneId) -> Option<u64> {
        self.lane(id).map(|lane| lane.front.max(lane.from))
    }

    /// Which byte to ask for where the one `at` is wanted: a few that are here come along to be compared.
    pub(super) fn asks_from(&self, at: u64) -> u64 {
        match self.honours_ranges {
            Some(true) => self.here.run_before(at).max(at.saturating_sub(OVERLAP)),
            Some(false) | None => 0,
        }
    }

    /// The service answers a lane's request for byte `asked` on with bytes from `start` on.
    pub(super) fn answered(&mut self, id: LaneId, asked: u64, start: u64, honours_ranges: bool) {
        self.honours_ranges = Some(honours_ranges && asked == start);
        self.moved(id, start);
    }

    /// A lane is at another byte.
    pub(super) fn moved(&mut self, id: LaneId, front: u64) {
        if let Some(lane) = self.lanes.iter_mut().find(|lane| lane.id == id) {
            lane.front = front;
        }
    }

    /// Bytes are here.
    pub(super) fn brought(&mut self, range: Range<u64>) {
        self.here.insert(range);
    }

    /// A lane is no more.
    pub(super) fn ended(&mut self, id: LaneId) {
        self.lanes.retain(|lane| lane.id != id);
    }

    fn lane(&self, id: LaneId) -> Option<&Lane> {
        self.lanes.iter().find(|lane| lane.id == id)
    }
}

impl Lane {
    fn want(&mut self, until: u64) {
        let window = WINDOW.max(until.saturating_sub(self.from));
        self.target = self.target.max(until.saturating_add(window));
    }

    fn rests(&self) -> bool {
        self.front >= self.target
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1 << 20;

    fn plan(honours_ranges: Option<bool>) -> Plan {
        Plan::new(100 * MB, honours_ranges)
    }

    /// A lane brings bytes.
    fn bring(plan: &mut Plan, lane: LaneId, range: Range<u64>) {
        plan.brought(range.clone());
        plan.moved(lane, range.end);
    }

    #[test]
    fn before_the_first_answer_everybody_waits_for_the_front() {
        let mut plan = plan(None);
        let far = 80 * MB..80 * MB + 1;
        assert_eq!(plan.way(&far, false), Way::Open(0));
        assert_eq!(plan.resumes_at(0), Some(0));
        assert_eq!(plan.way(&far, true), Way::Wait, "the answer tells");
        assert_eq!(plan.way(&(0..10), false), Way::Wait);
        plan.answered(0, 0, 0, true);
        assert_eq!(plan.way(&far, false), Way::Open(1));
        assert_eq!(plan.resumes_at(1), Some(80 * MB));
        assert_eq!(plan.way(&far, false), Way::Wait);
        assert!(plan.is_coming(&far));
    }

    #[test]
    fn a_lane_rests_where_nobody_reads_on_and_runs_ahead_of_who_does() {
        let mut plan = plan(None);
        plan.way(&(0..4096), false);
        plan.answered(0, 0, 0, false);
        assert_eq!(plan.next(0), Next::Bring);
        bring(&mut plan, 0, 0..4096 + WINDOW - 1);
        assert_eq!(plan.next(0), Next::Bring);
        bring(&mut plan, 0, 0..4096 + WINDOW);
        assert_eq!(plan.next(0), Next::Rest);
        assert!(!plan.was_read(4096), "read again");
        assert!(plan.was_read(8192));
        assert_eq!(plan.next(0), Next::Bring);
        // As far ahead as was read already.
        bring(&mut plan, 0, 0..20 * MB);
        assert!(plan.was_read(15 * MB));
        bring(&mut plan, 0, 0..30 * MB - 1);
        assert_eq!(plan.next(0), Next::Bring);
        bring(&mut plan, 0, 0..30 * MB);
        assert_eq!(plan.next(0), Next::Rest);
    }

    #[test]
    fn without_ranges_what_is_far_ahead_is_waited_for() {
        let mut plan = plan(None);
        plan.way(&(0..1), false);
        plan.answered(0, 0, 0, false);
        let far = 80 * MB..81 * MB;
        assert_eq!(plan.way(&far, true), Way::Wait);
        bring(&mut plan, 0, 0..80 * MB);
        assert_eq!(plan.next(0), Next::Bring);
        plan.ended(0);
        assert!(!plan.is_coming(&far));
        assert_eq!(plan.way(&far, false), Way::Open(1), "from the front");
        assert_eq!(plan.asks_from(plan.resumes_at(1).unwrap()), 0);
        plan.answered(1, 0, 0, false);
        assert_eq!(plan.next(1), Next::Bring, "over what is here");
    }

    #[test]
    fn a_service_that_takes_no_notice_of_a_range_begins_at_the_front() {
        let mut plan = plan(Some(true));
        let far = 80 * MB..81 * MB;
        assert_eq!(plan.way(&far, false), Way::Open(0));
        assert_eq!(plan.asks_from(80 * MB), 80 * MB);
        plan.answered(0, 80 * MB, 0, true);
        assert_eq!(plan.honours_ranges(), Some(false));
        assert_eq!(plan.next(0), Next::Bring);
        assert!(plan.is_coming(&far));
        assert_eq!(plan.way(&(90 * MB..91 * MB), false), Way::Wait);
    }

    #[test]
    fn what_is_near_ahead_is_waited_for_and_what_is_far_is_asked_for() {
        let mut plan = plan(Some(true));
        assert_eq!(plan.way(&(0..1), false), Way::Open(0));
        assert_eq!(plan.way(&(NEAR..NEAR + 1), false), Way::Wait);
        assert_eq!(plan.way(&(NEAR + 1..NEAR + 2), false), Way::Open(1));
        // Behind a lane nothing comes by it.
        bring(&mut plan, 0, 0..MB);
        plan.ended(0);
        assert_eq!(plan.way(&(3 * MB..4 * MB), false), Way::Open(2));
        assert_eq!(plan.resumes_at(2), Some(3 * MB));
    }

    /// Pages that the kernel has kept, and reads that overtake each other.
    #[test]
    fn what_is_missing_shortly_before_is_brought_too() {
        let mut plan = plan(Some(true));
        assert_eq!(plan.way(&(16_384..32_768), false), Way::Open(0));
        assert_eq!(plan.resumes_at(0), Some(0));
        assert_eq!(plan.way(&(0..16_384), false), Way::Wait);
        plan.brought(50 * MB..60 * MB);
        plan.way(&(60 * MB + 5..60 * MB + 6), false);
        assert_eq!(plan.resumes_at(1), Some(60 * MB));
    }

    #[test]
    fn lanes_are_few() {
        let mut plan = plan(Some(true));
        for n in 0..4 {
            assert_eq!(
                plan.way(&(n * 20 * MB..n * 20 * MB + 1), false),
                Way::Open(n)
            );
        }
        let more = 90 * MB..90 * MB + 1;
        assert_eq!(plan.way(&more, false), Way::Wait);
        assert!(!plan.is_coming(&more));
        // One that rests gives its place up.
        bring(&mut plan, 2, 40 * MB..40 * MB + 1 + WINDOW);
        assert_eq!(plan.way(&more, false), Way::Open(4));
        assert_eq!(plan.next(2), Next::End);
        // Who waited long takes the oldest one's.
        assert_eq!(plan.way(&(50 * MB..51 * MB), true), Way::Open(5));
        assert_eq!(plan.next(0), Next::End);
    }

    #[test]
    fn a_lane_ends_where_its_work_is_done() {
        let mut plan = plan(Some(true));
        plan.way(&(0..100 * MB), false);
        // A little that is here is read over, much is not.
        plan.brought(10 * MB..11 * MB);
        plan.brought(20 * MB..30 * MB);
        bring(&mut plan, 0, 0..10 * MB);
        assert_eq!(plan.next(0), Next::Bring);
        bring(&mut plan, 0, 0..20 * MB);
        assert_eq!(plan.next(0), Next::End);
        plan.ended(0);
        assert_eq!(plan.rest(), 30 * MB..100 * MB);
        assert_eq!(plan.way(&plan.rest(), false), Way::Open(1));
        assert_eq!(plan.resumes_at(1), Some(30 * MB));
        assert_eq!(plan.asks_from(30 * MB), 30 * MB - OVERLAP);
        plan.answered(1, 30 * MB - OVERLAP, 30 * MB - OVERLAP, true);
        assert_eq!(plan.next(1), Next::Bring, "the overlap");
        bring(&mut plan, 1, 30 * MB..100 * MB);
        assert_eq!((plan.next(1), plan.left()), (Next::End, 0));
        assert!(plan.is_whole());
    }
}
