//! The event loop: wake, claim, run, steal, until no chunk is left.
//!
//! Between two events every worker goes at a constant rate; an event is the moment when somebody
//! is through with what he does. Workers that are through at the same moment go on in order of their numbers.
#![forbid(unsafe_code)]

use super::rates::{Scratch, Seats, Want};
use super::{Assumptions, ChunkCosts, SimulateError, Simulation, WorkerTime};
use crate::chunk;
use crate::placement::Plan;
use crate::topology::Topology;

/// Steps of a worker that one simulation may take: some seconds.
const STEPS_LIMIT: usize = 400_000_000;

/// Below this much of a nanosecond, what is left is a rounding error.
const DUST_NS: f64 = 1e-6;

/// Runs these chunks on the workers of the plan.
///
/// # Errors
/// [`SimulateError`], where a number makes no sense or the work is too large to step through.
pub fn simulate(
    topology: &Topology,
    plan: &Plan,
    costs: &ChunkCosts,
    assumptions: &Assumptions,
) -> Result<Simulation, SimulateError> {
    costs.check()?;
    assumptions.check()?;
    let (chunks, workers) = (costs.len(), plan.workers.len());
    // Each chunk is a claim and a run, and each event looks at every worker.
    if chunks.saturating_mul(workers).saturating_mul(2) > STEPS_LIMIT {
        return Err(SimulateError::TooLarge { chunks, workers });
    }
    let mut run = Run {
        seats: Seats::new(topology, plan, assumptions),
        costs,
        assumptions,
        shares: shares(chunks, workers),
        states: vec![State { doing: Doing::Waking, left_ns: assumptions.wake_ns }; workers],
        wants: vec![Want::default(); workers],
        times: vec![WorkerTime::default(); workers],
    };
    Ok(Simulation { makespan_ns: run.until_done(), workers: run.times })
}

/// What a worker is doing.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Doing {
    Waking,
    /// Claiming the chunk that it is about to run.
    Claiming(Claim),
    Running,
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Claim {
    chunk: usize,
    /// Whose share it is of.
    owner: usize,
}

#[derive(Clone, Copy, Debug)]
struct State {
    doing: Doing,
    /// What is left of it at full speed.
    left_ns: f64,
}

/// The chunks of a share that nobody has claimed.
#[derive(Clone, Copy, Debug)]
struct Share {
    next: usize,
    end: usize,
}

/// The shares that the pool gives its workers.
fn shares(chunks: usize, workers: usize) -> Vec<Share> {
    let index = |at: u64| usize::try_from(at).unwrap_or(chunks);
    (0..workers)
        .map(|worker| chunk::share(chunks as u64, worker, workers))
        .map(|range| Share { next: index(range.start), end: index(range.end) })
        .collect()
}

struct Run<'a> {
    seats: Seats,
    costs: &'a ChunkCosts,
    assumptions: &'a Assumptions,
    shares: Vec<Share>,
    states: Vec<State>,
    wants: Vec<Want>,
    times: Vec<WorkerTime>,
}

impl Run<'_> {
    /// Steps from event to event, and returns when the last one was.
    fn until_done(&mut self) -> f64 {
        let (mut scratch, mut rates) = (Scratch::default(), Vec::new());
        let mut now = 0.0;
        loop {
            for worker in 0..self.states.len() {
                while self.states[worker].left_ns <= DUST_NS
                    && self.states[worker].doing != Doing::Done
                {
                    self.go_on(worker);
                }
            }
            self.seats.rates(&self.wants, &mut scratch, &mut rates);
            let until_through = self.states.iter().zip(&rates).filter_map(|(state, rate)| {
                let speed = match state.doing {
                    Doing::Done => return None,
                    Doing::Waking => 1.0,
                    Doing::Claiming(_) => rate.shared,
                    Doing::Running => rate.shared * rate.memory,
                };
                Some(state.left_ns / speed)
            });
            let Some(step) = until_through.min_by(f64::total_cmp) else { break };
            now += step;
            let all = self.states.iter_mut().zip(&mut self.times).zip(&rates);
            for ((state, time), rate) in all {
                match state.doing {
                    Doing::Done => time.idle_ns += step,
                    Doing::Waking => {
                        state.left_ns -= step;
                        time.idle_ns += step;
                    }
                    Doing::Claiming(_) => {
                        state.left_ns -= step * rate.shared;
                        time.claiming_ns += step;
                    }
                    Doing::Running => {
                        let done = step * rate.shared * rate.memory;
                        state.left_ns -= done;
                        time.busy_ns += done;
                        time.shared_ns += step * (1.0 - rate.shared);
                        time.memory_ns += step * rate.shared * (1.0 - rate.memory);
                    }
                }
            }
        }
        now
    }

    /// A worker is through with what it did.
    fn go_on(&mut self, worker: usize) {
        let state = match self.states[worker].doing {
            Doing::Claiming(claim) => {
                let ns = self.costs.ns(claim.chunk);
                let bytes = self.assumptions.memory.as_ref().map_or(0.0, |m| m.bytes_per_chunk);
                self.wants[worker] = Want {
                    active: true,
                    bytes_per_ns: bytes / ns,
                    group: self.seats.group[claim.owner],
                };
                State { doing: Doing::Running, left_ns: ns }
            }
            Doing::Waking | Doing::Running => self.claim(worker),
            Doing::Done => return,
        };
        self.states[worker] = state;
    }

    fn claim(&mut self, worker: usize) -> State {
        let count = self.shares.len();
        let victim = (0..count)
            .map(|far| (worker + far) % count)
            .find(|at| self.shares[*at].next < self.shares[*at].end);
        let Some(owner) = victim else {
            self.wants[worker] = Want::default();
            return State { doing: Doing::Done, left_ns: 0.0 };
        };
        let share = &mut self.shares[owner];
        self.wants[worker] = Want { active: true, ..Want::default() };
        let time = &mut self.times[worker];
        time.chunks += 1;
        if owner == worker {
            share.next += 1;
            let claim = Claim { chunk: share.next - 1, owner };
            State { doing: Doing::Claiming(claim), left_ns: self.assumptions.claim_ns }
        } else {
            share.end -= 1;
            time.stolen += 1;
            let claim = Claim { chunk: share.end, owner };
            State { doing: Doing::Claiming(claim), left_ns: self.assumptions.steal_ns }
        }
    }
}
