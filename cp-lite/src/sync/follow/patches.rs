//! What a delta says becomes changes of what is here. The catalog has all bodies at hand, those that patches are of too, unless
//! this follower has another one than its writer thinks; `wire::resolve` judges.

use crate::changelog::View;
use model::Change;
use wire::delta::Op;
use wire::resolve::{Resolver, Unready};

/// The changes that these operations are.
pub(super) fn changes(view: &View, ops: Vec<Op>) -> Result<Vec<Change>, Unready> {
    let mut resolver = Resolver::default();
    for op in ops {
        if let Some(based) = resolver.op(op, |kind, low, high| view.catalog.only_within(kind, low, high))? {
            let base = view.catalog.record(based.kind, based.id);
            resolver.patch(based, base.as_ref());
        }
    }
    resolver.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changelog::Whole;
    use crate::changelog::{Changelog, Step};
    use model::kinds::consumers::Consumer;
    use model::{Id, Kind, Record};
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
