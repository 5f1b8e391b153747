//! What a delta says as patches becomes changes. The catalog keeps all bodies, so that the base is at hand unless this
//! follower has another one than its writer thinks; then nothing is guessed, and the entity is asked for whole.

use crate::changelog::View;
use model::{Change, Id, Kind};
use wire::delta::{NoChange, Op, UnknownKind};
use wire::patch::{BaseDiffers, Patch};

/// Why the operations of a delta are no changes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unready {
    /// An entity of a kind that this build does not know.
    Unknown(UnknownKind),
    /// These bodies are not here as the writer takes them for; if empty, it is not even known whose.
    Missing(Vec<(u8, Id)>),
}

/// The changes that these operations are.
pub(super) fn changes(view: &View, ops: Vec<Op>) -> Result<Vec<Change>, Unready> {
    let mut changes = Vec::with_capacity(ops.len());
    let (mut missing, mut unnamed) = (Vec::new(), false);
    for op in ops {
        match op.into_change() {
            Ok(change) => changes.push(change),
            Err(NoChange::UnknownKind(unknown)) => return Err(Unready::Unknown(unknown)),
            Err(NoChange::Patch(patch)) => match target(view, &patch) {
                None => unnamed = true,
                Some((kind, id)) => match patched(view, &patch, kind, id) {
                    Ok(change) => changes.push(change),
                    Err(BaseDiffers) => missing.push((kind.code(), id)),
                },
            },
        }
    }
    match (missing.is_empty(), unnamed) {
        (true, false) => Ok(changes),
        (_, true) => Err(Unready::Missing(Vec::new())),
        (false, false) => Err(Unready::Missing(missing)),
    }
}

/// The entity that a patch is of.
fn target(view: &View, patch: &Patch) -> Option<(Kind, Id)> {
    let kind = Kind::from_code(patch.kind)?;
    let (low, high) = patch.prefix.range();
    Some((kind, view.catalog.only_within(kind, low, high)?))
}

fn patched(view: &View, patch: &Patch, kind: Kind, id: Id) -> Result<Change, BaseDiffers> {
    let base = view.catalog.record(kind, id).ok_or(BaseDiffers)?;
    patch.apply(id, &base.body)?.into_record().map(Change::Put).map_err(|_| BaseDiffers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changelog::Whole;
    use crate::changelog::{Changelog, Step};
    use model::Record;
    use model::kinds::consumers::Consumer;
    use std::sync::Arc;
    use wire::delta::{Assembler, Builder};
    use wire::frame::Decoder;
    use wire::message::Message;
    use wire::patch::IdPrefix;

    const KIND: Kind = Kind::Consumer;

    fn consumer(id: Id, version: u64, custom_id: &str) -> Record {
        let name = format!("a consumer with a name that is long enough for a patch to be worth it, {id}");
        let entity =
            Consumer { id, username: Some(name), custom_id: Some(custom_id.to_owned()), ..Consumer::default() };
        let body: Arc<[u8]> = entity.encode().unwrap().into();
        Record { kind: KIND, id, version, tag: Record::tag_of(KIND, id, &body), body }
    }

    /// A follower with these.
    fn view(records: &[Record]) -> Arc<View> {
        let mut whole = Whole::new(1, 0, 1);
        records.iter().for_each(|record| whole.put(record).unwrap());
        let root = records.iter().fold(0, |sum: u64, record| sum.wrapping_add(record.tag));
        let step: Step = whole.finish(root).unwrap();
        let follower = crate::changelog::memory().follow(9);
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(follower.follow(step)).unwrap();
        follower.view()
    }

    /// A patch of the first of these to the second, as it comes over the wire.
    fn patch(old: &Record, new: &Record) -> Vec<Op> {
        let mut builder = Builder::new(1, 2, 0);
        builder.patch(new, IdPrefix::of(new.id, 3), &old.body);
        let step = builder.finish().unwrap();
        assert_eq!(step.patches(), 1);
        let frames = step.frames();
        let frame = Decoder::new().next(&mut &*frames).unwrap().unwrap();
        let Some(Message::Delta(payload, more)) = Message::decode(frame).unwrap() else { panic!("a delta") };
        Assembler::default().push(&payload, more).unwrap().unwrap().ops
    }

    #[test]
    fn a_patch_of_what_is_here_is_a_change_and_any_other_is_asked_for_by_name_or_in_whole() {
        let id = Id(7 << 104);
        let (old, new, other) = (consumer(id, 1, "old"), consumer(id, 2, "new"), consumer(id, 1, "neither"));
        assert_eq!(changes(&view(std::slice::from_ref(&old)), patch(&old, &new)), Ok(vec![Change::Put(new.clone())]));
        assert_eq!(changes(&view(&[other]), patch(&old, &new)), Err(Unready::Missing(vec![(KIND.code(), id)])));
        assert_eq!(changes(&view(&[]), patch(&old, &new)), Err(Unready::Missing(Vec::new())));
        // Two of the same beginning: nobody knows which is meant.
        let twin = consumer(Id(id.0 + 1), 1, "twin");
        assert_eq!(changes(&view(&[old.clone(), twin]), patch(&old, &new)), Err(Unready::Missing(Vec::new())));
    }
}
