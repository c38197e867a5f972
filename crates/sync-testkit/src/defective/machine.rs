//! A store in memory that keeps a journal of its writes as its disk, so that it can be closed, opened again, copied, filled
//! and made to fail, with places where a defect may be planted.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures::FutureExt;
use sync_core::store::MemoryStore;
use sync_core::traits::{Lease, LeaseStore, OwnerId};
use sync_core::{StoreError, StoreErrorKind};
use timing::{Clock, ManualClock};

use super::Defect;
use super::notes::Notes;

/// The store in memory answers at once.
pub(super) fn now<T>(answer: impl Future<Output = T>) -> T {
    answer.now_or_never().unwrap()
}

/// A store that is whole but for one defect.
#[derive(Clone)]
pub struct DefectiveStore {
    machine: Arc<Mutex<Machine>>,
    /// Whether another opening was there first.
    pub(super) beside: bool,
    _opening: Arc<()>,
}

impl fmt::Debug for DefectiveStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DefectiveStore").finish_non_exhaustive()
    }
}

impl DefectiveStore {
    pub(super) fn machine(&self) -> MutexGuard<'_, Machine> {
        lock(&self.machine)
    }

    /// The first opening after the end of every earlier one.
    pub(super) fn open(machine: &Arc<Mutex<Machine>>) -> Self {
        let opening = Arc::new(());
        let mut locked = lock(machine);
        locked.reopen();
        locked.opening = Arc::downgrade(&opening);
        drop(locked);
        Self { machine: Arc::clone(machine), beside: false, _opening: opening }
    }

    pub(super) fn open_beside(machine: &Arc<Mutex<Machine>>) -> Result<Self, StoreError> {
        let locked = lock(machine);
        let opening = locked.opening.upgrade();
        if opening.is_some() && locked.exclusive && !locked.has(Defect::SecondOpenerAdmitted) {
            return Err(error(StoreErrorKind::InUse));
        }
        drop(locked);
        Ok(Self { machine: Arc::clone(machine), beside: true, _opening: opening.unwrap_or_default() })
    }
}

pub(super) fn lock(machine: &Mutex<Machine>) -> MutexGuard<'_, Machine> {
    machine.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn error(kind: StoreErrorKind) -> StoreError {
    StoreError::new(kind, "The store of the suite was told to fail.", "Let it be.")
}

pub(super) fn is_fenced<T>(answer: &Result<T, StoreError>) -> bool {
    answer.as_ref().is_err_and(|error| error.kind() == StoreErrorKind::Fenced)
}

/// Makes a write again; answers the lease if it was the taking of one.
type Again = Arc<dyn Fn(&MemoryStore, &Lease) -> Option<Lease> + Send + Sync>;

/// A write as the disk remembers it: it can be made again, under the lease that stands for the one told.
#[derive(Clone)]
struct Written {
    at: Duration,
    what: &'static str,
    lease: Lease,
    again: Again,
}

/// What happens to the disk.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    pub(super) full: bool,
    /// Which write from now on fails.
    pub(super) fail: Option<u32>,
}

pub(super) struct Machine {
    defect: Option<Defect>,
    /// Whether one process at a time has the store.
    pub(super) exclusive: bool,
    pub(super) clock: ManualClock,
    pub(super) inner: MemoryStore,
    inner_clock: ManualClock,
    /// The inner lease that stands for one told, by the nonce told, with the fence told.
    names: HashMap<u64, (u64, Lease)>,
    journal: Vec<Written>,
    copy: Vec<Written>,
    opening: Weak<()>,
    pub(super) trouble: Trouble,
    pub(super) notes: Notes,
}

impl Machine {
    pub(super) fn new(defect: Option<Defect>, exclusive: bool) -> Arc<Mutex<Self>> {
        let inner_clock = ManualClock::new();
        Arc::new(Mutex::new(Self {
            defect,
            exclusive,
            clock: ManualClock::new(),
            inner: MemoryStore::with_clock(inner_clock.shared()),
            inner_clock,
            names: HashMap::new(),
            journal: Vec::new(),
            copy: Vec::new(),
            opening: Weak::new(),
            trouble: Trouble::default(),
            notes: Notes::default(),
        }))
    }

    pub(super) fn has(&self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }

    /// Brings the clock of the leases to the time of the world.
    pub(super) fn tick(&self) {
        self.inner_clock.advance(self.clock.monotonic().saturating_sub(self.inner_clock.monotonic()));
    }

    /// Makes everything again that the disk remembers. With a defect elsewhere that would change nothing, and is left.
    fn reopen(&mut self) {
        self.notes.taken.clear();
        self.lose();
        let durability = [
            Defect::LastPageLost,
            Defect::LastClaimLost,
            Defect::LastEndLost,
            Defect::ValuesLost,
            Defect::RequestsLost,
        ];
        if self.defect.is_some_and(|defect| !durability.contains(&defect)) {
            return;
        }
        let journal = std::mem::take(&mut self.journal);
        self.replay(journal);
    }

    fn replay(&mut self, journal: Vec<Written>) {
        self.inner_clock = ManualClock::new();
        self.inner = MemoryStore::with_clock(self.inner_clock.shared());
        self.names.clear();
        for written in &journal {
            self.inner_clock.advance(written.at.saturating_sub(self.inner_clock.monotonic()));
            if let Some(lease) = (written.again)(&self.inner, &self.stands_for(&written.lease)) {
                self.names.insert(written.lease.nonce, (written.lease.fence, lease));
            }
        }
        self.journal = journal;
    }

    /// What a disk that forgets forgets.
    fn lose(&mut self) {
        let last = |what: &str| self.journal.iter().rposition(|written| written.what == what);
        let after = |at: usize, what: &str| self.journal[at..].iter().any(|written| written.what == what);
        let lost = match self.defect {
            Some(Defect::LastPageLost) => last("append").filter(|at| !after(*at, "claim")),
            Some(Defect::LastClaimLost) => last("claim").filter(|at| !after(*at, "settle")),
            Some(Defect::LastEndLost) => last("settle").filter(|at| !after(*at, "claim")),
            Some(Defect::ValuesLost) => last("put"),
            Some(Defect::RequestsLost) => last("leave_request"),
            _ => None,
        };
        if let Some(at) = lost {
            self.journal.remove(at);
        }
    }

    pub(super) fn back_up(&mut self) {
        self.copy.clone_from(&self.journal);
    }

    pub(super) fn restore(&mut self) {
        let copy = self.copy.clone();
        self.replay(copy);
    }

    /// The inner lease that stands for one told; one that is refused where none does.
    pub(super) fn stands_for(&self, told: &Lease) -> Lease {
        match self.names.get(&told.nonce) {
            Some((fence, lease)) if *fence == told.fence => lease.clone(),
            _ if self.has(Defect::NonceIgnored) => {
                let by_number = self.names.values().find(|(fence, _)| *fence == told.fence);
                by_number.map_or_else(|| told.clone(), |(_, lease)| lease.clone())
            }
            _ => Lease { fence: u64::MAX, ..told.clone() },
        }
    }

    /// The newest lease of a resource, as it was told.
    pub(super) fn newest(&self, resource: &str) -> Option<Lease> {
        let of_resource = self.names.iter().filter(|(_, (_, lease))| *lease.resource == *resource);
        let newest = of_resource.max_by_key(|(_, (_, lease))| lease.fence);
        newest.map(|(nonce, (fence, lease))| Lease { fence: *fence, nonce: *nonce, ..lease.clone() })
    }

    /// Takes a lease, which is told under another number when `fence` says so.
    pub(super) fn take(
        &mut self,
        resource: &str,
        owner: &OwnerId,
        ttl: Duration,
        fence: impl FnOnce(u64) -> u64,
    ) -> Option<Lease> {
        self.tick();
        if self.exclusive
            && let Some(left) = self.newest(resource).filter(|left| !self.notes.taken.contains(&left.nonce))
        {
            // Whoever held it was of another process, which is gone.
            let _ = self.write_anyway("release", &left, |store, lease| now(store.release(lease.clone())));
        }
        let (owner, ttl) = (owner.clone(), if self.exclusive { Duration::MAX } else { ttl });
        let lease = now(self.inner.acquire(resource, &owner, ttl)).unwrap()?;
        let told = Lease { fence: fence(lease.fence), ttl: lease.ttl.filter(|_| !self.exclusive), ..lease.clone() };
        self.names.insert(told.nonce, (told.fence, lease));
        self.notes.taken.insert(told.nonce);
        let resource: Arc<str> = resource.into();
        self.journal.push(Written {
            at: self.clock.monotonic(),
            what: "acquire",
            lease: told.clone(),
            again: Arc::new(move |store, _| now(store.acquire(&resource, &owner, ttl)).ok().flatten()),
        });
        Some(told)
    }

    /// Whether the disk takes one more write.
    pub(super) fn trouble(&mut self) -> Result<(), StoreError> {
        if self.trouble.full {
            return Err(error(StoreErrorKind::Full));
        }
        let Some(left) = self.trouble.fail else { return Ok(()) };
        self.trouble.fail = left.checked_sub(1).filter(|left| *left > 0);
        if left == 1 { Err(error(StoreErrorKind::Unavailable)) } else { Ok(()) }
    }

    /// Writes under a lease, and remembers it on the disk.
    pub(super) fn write<T>(
        &mut self,
        what: &'static str,
        lease: &Lease,
        act: impl Fn(&MemoryStore, &Lease) -> Result<T, StoreError> + Send + Sync + 'static,
    ) -> Result<T, StoreError> {
        self.trouble()?;
        self.write_anyway(what, lease, act)
    }

    /// [`Machine::write`], whatever the disk says.
    pub(super) fn write_anyway<T>(
        &mut self,
        what: &'static str,
        lease: &Lease,
        act: impl Fn(&MemoryStore, &Lease) -> Result<T, StoreError> + Send + Sync + 'static,
    ) -> Result<T, StoreError> {
        self.tick();
        let mut lease = lease.clone();
        let mut answer = act(&self.inner, &self.stands_for(&lease));
        if is_fenced(&answer)
            && let Some(other) = self.instead(what, &lease)
        {
            answer = act(&self.inner, &self.stands_for(&other));
            lease = other;
        }
        let answer = answer?;
        let again = move |store: &MemoryStore, lease: &Lease| {
            // It was possible once, and is again.
            let _ = act(store, lease);
            None
        };
        self.journal.push(Written { at: self.clock.monotonic(), what, lease, again: Arc::new(again) });
        Ok(answer)
    }

    /// Under which lease a defect writes all the same.
    fn instead(&mut self, what: &str, lease: &Lease) -> Option<Lease> {
        let newest = self.newest(&lease.resource)?;
        if self.has(Defect::EndedLeaseSettles) && what == "settle" && newest.nonce == lease.nonce {
            let released = self.notes.released.contains(&lease.nonce);
            return if released {
                None
            } else {
                self.take(&lease.resource, &OwnerId("suite".into()), Duration::MAX, |fence| fence)
            };
        }
        let forgets = match what {
            "append" => Defect::AppendForgetsFence,
            "claim" => Defect::ClaimForgetsFence,
            "settle" => Defect::SettleForgetsFence,
            "inherit" => Defect::InheritForgetsFence,
            "give_up_waiting" => Defect::GiveUpForgetsFence,
            "release_deletes" => Defect::ReleaseForgetsFence,
            "reset" => Defect::ResetForgetsFence,
            "put" => Defect::PutForgetsFence,
            "mark_seen" => Defect::MarkSeenForgetsFence,
            "drop_dead_letters" => Defect::DropForgetsFence,
            "finish_request" => Defect::FinishForgetsFence,
            "renew" => Defect::RenewForgetsFence,
            _ => return None,
        };
        (self.has(forgets) && newest.nonce != lease.nonce).then_some(newest)
    }
}
