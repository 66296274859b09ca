//! Many futures in one task, each polled only when it was woken.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Futures that run in the task that polls them: of many silent ones, one that is woken costs one poll.
pub(crate) struct Crowd<T> {
    members: Vec<Member<T>>,
    /// The waker of the task that polls us.
    task: Arc<Mutex<Waker>>,
}

struct Member<T> {
    work: Pin<Box<dyn Future<Output = T> + Send>>,
    bell: Arc<Bell>,
}

/// Remembers that its member was woken, and wakes the task.
struct Bell {
    rung: AtomicBool,
    task: Arc<Mutex<Waker>>,
}

impl<T> Crowd<T> {
    pub(crate) fn new() -> Self {
        Crowd { members: Vec::new(), task: Arc::new(Mutex::new(Waker::noop().clone())) }
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// Adds one; it begins with the next poll.
    pub(crate) fn push(&mut self, work: Pin<Box<dyn Future<Output = T> + Send>>) {
        let bell = Arc::new(Bell { rung: AtomicBool::new(true), task: self.task.clone() });
        self.members.push(Member { work, bell });
    }

    /// What the next gives that ends, in no order; `Pending`, and nothing to wake for, while there is none.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        if self.members.is_empty() {
            return Poll::Pending;
        }
        self.listen(cx.waker());
        let mut at = 0;
        while let Some(member) = self.members.get_mut(at) {
            if member.bell.rung.swap(false, Ordering::AcqRel) {
                let waker = Waker::from(member.bell.clone());
                if let Poll::Ready(done) = member.work.as_mut().poll(&mut Context::from_waker(&waker)) {
                    self.members.swap_remove(at);
                    return Poll::Ready(done);
                }
            }
            at = at.saturating_add(1);
        }
        Poll::Pending
    }

    /// Wakes this task from now on. Before any bell is looked at: one that rings later is heard.
    fn listen(&self, waker: &Waker) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        let before = (!task.will_wake(waker)).then(|| std::mem::replace(&mut *task, waker.clone()));
        drop(task);
        // A waker is other people's code: not under our lock.
        drop(before);
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).clone();
            task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use futures_lite::future::{self, block_on};

    use super::*;

    #[test]
    fn only_those_that_were_woken_are_polled() {
        let polls = Arc::new(AtomicUsize::new(0));
        let mut crowd = Crowd::new();
        for _ in 0..100 {
            let polls = polls.clone();
            crowd.push(Box::pin(future::poll_fn(move |_| {
                polls.fetch_add(1, Ordering::Relaxed);
                Poll::<u32>::Pending
            })));
        }
        let waker = Arc::new(Mutex::new(None::<Waker>));
        let (given, mut asked) = (waker.clone(), false);
        crowd.push(Box::pin(future::poll_fn(move |cx| {
            *given.lock().unwrap() = Some(cx.waker().clone());
            if std::mem::replace(&mut asked, true) { Poll::Ready(7) } else { Poll::Pending }
        })));
        assert_eq!(block_on(future::poll_once(future::poll_fn(|cx| crowd.poll_next(cx)))), None);
        assert_eq!(polls.load(Ordering::Relaxed), 100);

        // From another thread, while we wait.
        let waker = waker.lock().unwrap().clone().unwrap();
        let thread = std::thread::spawn(move || waker.wake());
        assert_eq!(block_on(future::poll_fn(|cx| crowd.poll_next(cx))), 7);
        thread.join().unwrap();
        assert_eq!(polls.load(Ordering::Relaxed), 100, "the silent ones were left alone");
        assert_eq!(crowd.len(), 100);
    }

    #[test]
    fn all_that_end_are_told_of_once() {
        let mut crowd = Crowd::new();
        for number in 0..50u32 {
            crowd.push(Box::pin(async move {
                for _ in 0..number % 3 {
                    future::yield_now().await;
                }
                number
            }));
        }
        let mut ended: Vec<u32> = (0..50).map(|_| block_on(future::poll_fn(|cx| crowd.poll_next(cx)))).collect();
        ended.sort_unstable();
        assert_eq!(ended, (0..50).collect::<Vec<_>>());
        assert_eq!(crowd.len(), 0);
    }
}
