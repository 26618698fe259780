//! The queues do what a plain collection does, for any sequence of calls by one thread.

use std::collections::VecDeque;

use manyhands_queue::{
    Arrival, LastFirst, Locked, Nothing, Order, Queue, Refused, Ring, SmallestFirst, Store,
    TooManyDone,
};
use proptest::collection::vec;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Call {
    Put(u8),
    Get,
    PutMany(Vec<u8>),
    GetMany(usize),
    TaskDone,
    Shutdown(bool),
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let call = prop_oneof![
        8 => any::<u8>().prop_map(Call::Put),
        8 => Just(Call::Get),
        2 => vec(any::<u8>(), 0..5).prop_map(Call::PutMany),
        2 => (0usize..5).prop_map(Call::GetMany),
        4 => Just(Call::TaskDone),
        1 => any::<bool>().prop_map(Call::Shutdown),
    ];
    vec(call, 0..60)
}

/// What a queue is, said as simply as possible.
struct Model {
    items: VecDeque<u8>,
    next: fn(&mut VecDeque<u8>) -> Option<u8>,
    maxsize: usize,
    n_unfinished: u64,
    is_shut_down: bool,
}

impl Model {
    fn put(&mut self, item: u8) -> Result<(), Refused<u8>> {
        if self.is_shut_down {
            return Err(Refused::ShutDown(item));
        }
        if self.maxsize > 0 && self.items.len() == self.maxsize {
            return Err(Refused::Full(item));
        }
        self.items.push_back(item);
        self.n_unfinished += 1;
        Ok(())
    }

    fn get(&mut self) -> Result<u8, Nothing> {
        let nothing = if self.is_shut_down { Nothing::ShutDown } else { Nothing::Empty };
        (self.next)(&mut self.items).ok_or(nothing)
    }
}

fn check<S: Store<u8>>(store: S, next: fn(&mut VecDeque<u8>) -> Option<u8>, calls: Vec<Call>) {
    let long_ago = Some(manyhands_queue::Deadline::NOW);
    let maxsize = store.maxsize();
    let queue = Queue::with_store(store);
    let mut model =
        Model { items: VecDeque::new(), next, maxsize, n_unfinished: 0, is_shut_down: false };
    for call in calls {
        match call {
            Call::Put(item) => assert_eq!(queue.try_put(item), model.put(item)),
            Call::Get => assert_eq!(queue.try_get(), model.get()),
            Call::PutMany(items) => {
                let mut left = VecDeque::from(items.clone());
                let mut end = Ok(());
                while let Some(item) = left.pop_front() {
                    end = match model.put(item) {
                        Ok(()) => continue,
                        Err(refused) => {
                            left.push_front(item);
                            Err(match refused {
                                Refused::Full(_) => Refused::Full(left),
                                Refused::ShutDown(_) => Refused::ShutDown(left),
                            })
                        }
                    };
                    break;
                }
                assert_eq!(queue.put_many(items, long_ago), end);
            }
            Call::GetMany(n_max) => {
                let expected: Vec<u8> = (0..n_max).map_while(|_| model.get().ok()).collect();
                let got = queue.get_many(n_max, long_ago);
                match expected.is_empty() && n_max > 0 {
                    true if model.is_shut_down => assert_eq!(got, Err(Nothing::ShutDown)),
                    true => assert_eq!(got, Err(Nothing::Empty)),
                    false => assert_eq!(got, Ok(expected)),
                }
            }
            Call::TaskDone => {
                let expected = if model.n_unfinished == 0 { Err(TooManyDone) } else { Ok(()) };
                model.n_unfinished = model.n_unfinished.saturating_sub(1);
                assert_eq!(queue.task_done(), expected);
            }
            Call::Shutdown(is_immediate) => {
                queue.shutdown(is_immediate);
                model.is_shut_down = true;
                if is_immediate {
                    let n_dropped = model.items.len() as u64;
                    model.n_unfinished = model.n_unfinished.saturating_sub(n_dropped);
                    model.items.clear();
                }
            }
        }
        assert_eq!(queue.len(), model.items.len());
        assert_eq!(queue.is_shut_down(), model.is_shut_down);
        assert_eq!(queue.n_unfinished(), model.n_unfinished);
    }
}

fn locked<O: Order<u8> + Default>(maxsize: usize) -> Locked<u8, O> {
    Locked::new(O::default(), maxsize)
}

fn smallest(items: &mut VecDeque<u8>) -> Option<u8> {
    let at = (0..items.len()).min_by_key(|at| items[*at])?;
    items.remove(at)
}

proptest! {
    #[test]
    fn a_ring_is_a_bounded_first_in_first_out_queue(maxsize in 1usize..6, calls in calls()) {
        check(Ring::new(maxsize), VecDeque::pop_front, calls);
    }

    #[test]
    fn a_locked_store_keeps_the_order_of_arrival(maxsize in 0usize..6, calls in calls()) {
        check(locked::<Arrival<u8>>(maxsize), VecDeque::pop_front, calls);
    }

    #[test]
    fn a_lifo_queue_gives_back_what_was_put_last(maxsize in 0usize..6, calls in calls()) {
        check(locked::<LastFirst<u8>>(maxsize), VecDeque::pop_back, calls);
    }

    #[test]
    fn a_priority_queue_gives_back_the_smallest(maxsize in 0usize..6, calls in calls()) {
        check(locked::<SmallestFirst<u8>>(maxsize), smallest, calls);
    }
}
