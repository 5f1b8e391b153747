//! What the changelog promises, on a store in memory that can fail and wait, and once on the real one.

use super::committer::{Durable, Guarded, Loading, Start};
use super::role::Standing;
use super::*;
use model::Record;
use model::kinds::consumers::Consumer;
use model::kinds::keyauth_credentials::KeyauthCredential;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::{Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use store::Key;

/// A store in memory. Clones share the content.
#[derive(Clone, Default)]
pub(crate) struct Memory {
    content: Arc<Mutex<Content>>,
}

#[derive(Default)]
struct Content {
    meta: Vec<u8>,
    records: BTreeMap<Key, Arc<[u8]>>,
    commits: usize,
    replacements: usize,
    /// How many of the next writes fail.
    failures: usize,
    /// Where the next write waits to be told to go on.
    gate: Option<mpsc::Receiver<()>>,
}

impl Memory {
    /// A changelog over this store, with a limit of remembered deletions.
    pub(crate) fn open(&self, tombstones_max: usize) -> Local {
        let (view, standing, nodes) = self.load_all();
        self.start(view, standing.over, nodes, tombstones_max)
    }

    /// The same as a follower, whatever it was before.
    pub(crate) fn follow(&self, tombstones_max: usize) -> Local {
        let (view, _, nodes) = self.load_all();
        let epoch = if view.version == 0 { 0 } else { view.epoch };
        self.start(View { role: Role::Follower, epoch, ..view }, String::new(), nodes, tombstones_max)
    }

    fn start(&self, view: View, over: String, nodes: Vec<NodeRow>, tombstones_max: usize) -> Local {
        let start = Start { view, nodes, over, writers: "writer:8005".to_owned(), tombstones_max };
        Local::start(start, Box::new(self.clone())).unwrap()
    }

    /// Lets the next write fail.
    pub(crate) fn fail_next(&self) {
        self.content.lock().unwrap().failures = 1;
    }

    /// What a start would find, the records in descending order: children before their parents.
    pub(super) fn load(&self) -> (View, Vec<NodeRow>) {
        let (view, _, nodes) = self.load_all();
        (view, nodes)
    }

    pub(super) fn load_all(&self) -> (View, Standing, Vec<NodeRow>) {
        let content = self.content.lock().unwrap();
        if content.meta.is_empty() {
            return (View::empty(7), Standing::default(), Vec::new());
        }
        let mut loading = Loading::new();
        for (key, value) in content.records.iter().rev() {
            loading.take(*key, value);
        }
        loading.finish(&content.meta).unwrap()
    }

    fn commits(&self) -> (usize, usize) {
        let content = self.content.lock().unwrap();
        (content.commits, content.replacements)
    }

    fn write(&self, meta: &[u8], write: impl FnOnce(&mut Content)) -> Result<(), String> {
        let gate = self.content.lock().unwrap().gate.take();
        if let Some(gate) = gate {
            gate.recv().unwrap();
        }
        let mut content = self.content.lock().unwrap();
        if content.failures > 0 {
            content.failures -= 1;
            return Err("no space left on the device".to_owned());
        }
        content.meta = meta.to_vec();
        write(&mut content);
        Ok(())
    }
}

impl Durable for Memory {
    fn commit(&mut self, meta: &[u8], changes: Vec<store::Change>) -> Result<(), String> {
        self.write(meta, |content| {
            content.commits += 1;
            for store::Change { key, value } in changes {
                match value {
                    Some(value) => content.records.insert(key, value),
                    None => content.records.remove(&key),
                };
            }
        })
    }

    fn replace(&mut self, meta: &[u8], records: &mut dyn Iterator<Item = store::Change>) -> Result<(), String> {
        self.write(meta, |content| {
            content.replacements += 1;
            content.records = records.filter_map(|change| Some((change.key, change.value?))).collect();
        })
    }
}

pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn put(kind: Kind, id: Id, body: Vec<u8>) -> Change {
    Change::Put(Record { kind, id, version: 0, tag: 0, body: body.into() })
}

pub(super) fn consumer(id: u128, username: &str) -> Change {
    let entity = Consumer { id: Id(id), username: Some(username.to_owned()), ..Consumer::default() };
    put(Kind::Consumer, Id(id), entity.encode().unwrap())
}

pub(super) fn key(id: u128, consumer: u128, key: &str) -> Change {
    let consumer = model::body::ForeignKey { id: Id(consumer) };
    let entity = KeyauthCredential { id: Id(id), consumer, key: key.to_owned(), ..KeyauthCredential::default() };
    put(Kind::KeyauthCredential, Id(id), entity.encode().unwrap())
}

pub(super) fn transaction(changes: impl IntoIterator<Item = Change>) -> Transaction {
    Transaction { changes: changes.into_iter().collect(), preconditions: Vec::new() }
}

/// Hands a transaction to the committer without waiting for the answer.
fn submit<T>(pending: &mut Pending<'_, T>) {
    let mut context = Context::from_waker(Waker::noop());
    assert!(matches!(Pin::new(pending).poll(&mut context), Poll::Pending));
}

#[test]
fn many_waiting_writers_share_one_durable_write_and_each_gets_a_version() {
    let memory = Memory::default();
    let (open, gate) = mpsc::channel();
    memory.content.lock().unwrap().gate = Some(gate);
    let changelog = memory.open(TOMBSTONES_MAX);
    let mut first = changelog.commit(transaction([consumer(0, "first")]));
    submit(&mut first);
    // The committer is at the gate, or will be, with the first alone or with some of the others; all wait.
    let mut others: Vec<_> =
        (1..=100).map(|id| changelog.commit(transaction([consumer(id, &format!("c{id}"))]))).collect();
    others.iter_mut().for_each(submit);
    open.send(()).unwrap();
    assert_eq!(block_on(first).unwrap().version, 1);
    let versions: Vec<u64> = others.into_iter().map(|other| block_on(other).unwrap().version).collect();
    assert_eq!(versions, (2..=101).collect::<Vec<_>>());
    assert!(memory.commits().0 <= 2, "{:?}", memory.commits());
    assert_eq!(*changelog.watch().borrow(), 101);
}

#[test]
fn a_transaction_is_judged_against_those_before_it_in_the_same_batch() {
    let memory = Memory::default();
    let (open, gate) = mpsc::channel();
    memory.content.lock().unwrap().gate = Some(gate);
    let changelog = memory.open(TOMBSTONES_MAX);
    let mut blocker = changelog.commit(transaction([consumer(9, "blocker")]));
    submit(&mut blocker);
    let mut wins = changelog.commit(transaction([consumer(1, "same")]));
    let mut loses = changelog.commit(transaction([consumer(2, "same")]));
    let mut follows = changelog.commit(transaction([key(3, 1, "k")]));
    for pending in [&mut wins, &mut loses, &mut follows] {
        submit(pending);
    }
    open.send(()).unwrap();
    assert_eq!(block_on(wins).unwrap().version, 2);
    assert!(matches!(block_on(loses), Err(CommitError::Refused(_))));
    assert_eq!(block_on(follows).unwrap().version, 3);
}

#[test]
fn a_failing_store_changes_nothing_and_a_later_try_succeeds() {
    let memory = Memory::default();
    let changelog = memory.open(TOMBSTONES_MAX);
    block_on(changelog.commit(transaction([consumer(1, "a")]))).unwrap();
    memory.fail_next();
    let watch = changelog.watch();
    let failed = block_on(changelog.commit(transaction([consumer(2, "b")])));
    assert_eq!(failed, Err(CommitError::Store("no space left on the device".to_owned())));
    assert_eq!(changelog.failure().as_deref(), Some("no space left on the device"));
    assert_eq!((changelog.view().version, changelog.view().catalog.len()), (1, 1));
    assert!(!watch.has_changed().unwrap());

    assert_eq!(block_on(changelog.commit(transaction([consumer(2, "b")]))).unwrap().version, 2);
    assert_eq!(changelog.failure(), None);
    assert_eq!(memory.load().0.catalog.digest(), changelog.view().catalog.digest());
}

#[test]
fn preconditions_see_the_entity_or_the_head() {
    let changelog = Memory::default().open(TOMBSTONES_MAX);
    let with = |precondition, change| Transaction { changes: vec![change], preconditions: vec![precondition] };
    let absent = Precondition::Entity(Kind::Consumer, Id(1), None);
    block_on(changelog.commit(with(absent, consumer(1, "a")))).unwrap();
    assert_eq!(block_on(changelog.commit(with(absent, consumer(1, "b")))), Err(CommitError::Outdated(absent)));
    let at_1 = Precondition::Entity(Kind::Consumer, Id(1), Some(1));
    block_on(changelog.commit(with(at_1, consumer(1, "b")))).unwrap();
    assert_eq!(block_on(changelog.commit(with(at_1, consumer(1, "c")))), Err(CommitError::Outdated(at_1)));
    let head = Precondition::Head(1);
    assert_eq!(block_on(changelog.commit(with(head, consumer(2, "c")))), Err(CommitError::Outdated(head)));
    assert_eq!(block_on(changelog.commit(with(Precondition::Head(2), consumer(2, "c")))).unwrap().version, 3);
}

#[test]
fn what_changes_nothing_gets_no_version_and_is_not_written() {
    let memory = Memory::default();
    let changelog = memory.open(TOMBSTONES_MAX);
    block_on(changelog.commit(transaction([consumer(1, "a")]))).unwrap();
    for changes in [vec![], vec![consumer(1, "a")], vec![Change::Delete { kind: Kind::Route, id: Id(5) }]] {
        assert_eq!(block_on(changelog.commit(transaction(changes))).unwrap(), Committed { version: 1, changed: 0 });
    }
    assert_eq!(memory.commits().0, 1);
}

#[test]
fn what_is_too_large_for_one_commit_of_the_store_replaces_its_content() {
    let memory = Memory::default();
    let changelog = memory.open(TOMBSTONES_MAX);
    block_on(changelog.commit(transaction([consumer(0, "early"), consumer(1, "gone")]))).unwrap();
    block_on(changelog.commit(transaction([Change::Delete { kind: Kind::Consumer, id: Id(1) }]))).unwrap();
    block_on(changelog.note(Id(77), Some(b"a node".to_vec()))).unwrap();
    let large = (2..100).map(|id| consumer(id, &format!("{id:050000}")));
    block_on(changelog.commit(transaction(large))).unwrap();
    assert_eq!(memory.commits(), (3, 1));
    let (view, nodes) = memory.load();
    assert_eq!((view.version, view.catalog.len(), view.tombstones()), (3, 99, 1));
    assert_eq!(nodes, [(Id(77), b"a node".to_vec())]);
}

#[test]
fn oversized_transactions_are_refused_by_name() {
    let changelog = Memory::default().open(TOMBSTONES_MAX);
    let delete = Change::Delete { kind: Kind::Route, id: Id(1) };
    let many = transaction(std::iter::repeat_n(delete, TRANSACTION_CHANGES_MAX + 1));
    let refused = CommitError::TooManyChanges { changes: TRANSACTION_CHANGES_MAX + 1 };
    assert_eq!(block_on(changelog.commit(many)), Err(refused));
    let large = put(Kind::Consumer, Id(1), vec![0; TRANSACTION_BYTES_MAX + 1]);
    let refused = CommitError::TooManyBytes { bytes: TRANSACTION_BYTES_MAX + 1 };
    assert_eq!(block_on(changelog.commit(transaction([large]))), Err(refused));
}

#[test]
fn what_is_known_of_nodes_is_kept_without_a_version() {
    let memory = Memory::default();
    let changelog = memory.open(TOMBSTONES_MAX);
    let watch = changelog.watch();
    block_on(changelog.note(Id(1), Some(vec![1]))).unwrap();
    block_on(changelog.note(Id(2), Some(vec![2]))).unwrap();
    block_on(changelog.note(Id(1), None)).unwrap();
    assert_eq!(changelog.view().version, 0);
    assert!(!watch.has_changed().unwrap());
    assert_eq!(memory.load().1, [(Id(2), vec![2])]);
}

#[test]
fn the_real_store_gives_back_epoch_version_entities_and_deletions() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Local::open(dir.path(), store::Options::default()).unwrap();
    let (changelog, nodes) = open();
    assert!(nodes.is_empty());
    let epoch = changelog.view().epoch;
    block_on(changelog.commit(transaction([consumer(1, "a"), key(2, 1, "k"), consumer(3, "c")]))).unwrap();
    block_on(changelog.commit(transaction([Change::Delete { kind: Kind::Consumer, id: Id(3) }]))).unwrap();
    block_on(changelog.note(Id(9), Some(b"row".to_vec()))).unwrap();
    let before = changelog.view();
    drop(changelog);
    let (changelog, nodes) = open();
    let after = changelog.view();
    assert_eq!((after.epoch, after.version, after.floor), (epoch, 2, 0));
    assert_ne!(epoch, 0);
    assert_eq!(after.catalog.digest(), before.catalog.digest());
    assert_eq!(after.since(0).unwrap().collect::<Vec<_>>(), before.since(0).unwrap().collect::<Vec<_>>());
    assert_eq!(nodes, [(Id(9), b"row".to_vec())]);
    // A first load that is larger than what the journal takes at once.
    let large = (10..130).map(|id| consumer(id, &format!("{id:050000}")));
    assert_eq!(block_on(changelog.commit(transaction(large))).unwrap(), Committed { version: 3, changed: 120 });
    let digest = changelog.view().catalog.digest();
    drop(changelog);
    let (changelog, nodes) = open();
    assert_eq!((changelog.view().version, changelog.view().catalog.digest(), nodes.len()), (3, digest, 1));
}

#[test]
fn a_store_that_panics_fails_that_commit_and_all_later_ones_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = store::Store::open(dir.path(), store::Options::default(), &mut |_, _| {}).unwrap();
    let mut guarded = Guarded(Some(store));
    assert_eq!(guarded.commit(b"meta", Vec::new()), Ok(()));
    assert!(guarded.with(|_| panic!("a mistake in the store")).is_err());
    assert!(guarded.commit(b"meta", Vec::new()).unwrap_err().contains("restart the control plane"));
}

/// One random operation of a transaction, on few enough entities that they meet.
#[derive(Debug, Clone)]
pub(super) enum Op {
    PutConsumer(u8, u8),
    PutKey(u8, u8, u8),
    DeleteConsumer(u8),
    DeleteKey(u8),
}

impl Op {
    pub(super) fn change(&self) -> Change {
        match self {
            Self::PutConsumer(id, name) => consumer(u128::from(*id), &format!("user-{name}")),
            Self::PutKey(id, owner, value) => key(u128::from(*id), u128::from(*owner), &format!("key-{value}")),
            Self::DeleteConsumer(id) => Change::Delete { kind: Kind::Consumer, id: Id((*id).into()) },
            Self::DeleteKey(id) => Change::Delete { kind: Kind::KeyauthCredential, id: Id((*id).into()) },
        }
    }
}

pub(super) fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (0..6u8, 0..8u8).prop_map(|(id, name)| Op::PutConsumer(id, name)),
        3 => (0..6u8, 0..6u8, 0..8u8).prop_map(|(id, owner, value)| Op::PutKey(id, owner, value)),
        1 => (0..6u8).prop_map(Op::DeleteConsumer),
        2 => (0..6u8).prop_map(Op::DeleteKey),
    ]
}

/// The whole of a view's recent past, for comparison.
fn everything_since(view: &View, version: u64) -> Result<BTreeSet<(Kind, Id, u64, bool)>, BeyondHorizon> {
    let touched: Vec<_> = view.since(version)?.map(|t| (t.kind, t.id, t.version, t.deleted)).collect();
    let set: BTreeSet<_> = touched.iter().copied().collect();
    let keys: BTreeSet<_> = touched.iter().map(|(kind, id, ..)| (*kind, *id)).collect();
    assert_eq!(keys.len(), touched.len(), "an entity occurs twice");
    Ok(set)
}

/// What [`everything_since`] should be: from all views there ever were.
fn expected_since(history: &[Arc<View>], version: u64) -> BTreeSet<(Kind, Id, u64, bool)> {
    let keys = |view: &View| view.records().map(|record| (record.kind, record.id)).collect::<BTreeSet<_>>();
    let mut expected = BTreeMap::new();
    for pair in history.windows(2) {
        let [before, after] = pair else { continue };
        if after.version <= version {
            continue;
        }
        for record in after.records().filter(|record| record.version == after.version) {
            expected.insert((record.kind, record.id), (after.version, false));
        }
        for gone in keys(before).difference(&keys(after)) {
            expected.insert(*gone, (after.version, true));
        }
    }
    expected.into_iter().map(|((kind, id), (version, deleted))| (kind, id, version, deleted)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever happened, the answer to "what changed since v" is exact for every v that is answered at all, leads from
    /// the configuration at v to the present one, and is the same after a restart.
    #[test]
    fn since_is_exact_for_every_version_and_survives_a_restart(
        transactions in proptest::collection::vec(proptest::collection::vec(op(), 1..4), 1..30),
        tombstones_max in 1..6usize,
    ) {
        let memory = Memory::default();
        let changelog = memory.open(tombstones_max);
        let mut history = vec![changelog.view()];
        for ops in transactions {
            let outcome = block_on(changelog.commit(transaction(ops.iter().map(Op::change))));
            match outcome {
                Ok(Committed { version, changed }) if changed > 0 => {
                    prop_assert_eq!(version, history.len() as u64);
                    history.push(changelog.view());
                }
                Ok(committed) => prop_assert_eq!(committed.version + 1, history.len() as u64),
                Err(error) => prop_assert!(matches!(error, CommitError::Refused(_)), "{}", error),
            }
        }
        let head = changelog.view();
        prop_assert!(head.tombstones() <= tombstones_max);
        let (reloaded, _) = memory.load();
        if head.version > 0 {
            prop_assert_eq!((reloaded.epoch, reloaded.version, reloaded.floor), (head.epoch, head.version, head.floor));
        }
        for then in &history {
            let answer = everything_since(&head, then.version);
            if head.version > 0 {
                prop_assert_eq!(&answer, &everything_since(&reloaded, then.version));
            }
            let Ok(answer) = answer else {
                prop_assert!(then.version < head.floor);
                continue;
            };
            prop_assert_eq!(answer, expected_since(&history, then.version));
            let changes: Vec<Change> = head.changes_since(then.version).unwrap().collect();
            let caught_up = then.catalog.apply(&changes).unwrap();
            prop_assert_eq!(caught_up.digest(), head.catalog.digest());
            prop_assert_eq!(caught_up.len(), head.catalog.len());
        }
    }
}
