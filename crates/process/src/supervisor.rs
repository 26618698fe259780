//! The thread that learns of every death: one per process with children, gone when they are.
//!
//! It sleeps in one poll over the templates' sockets and processes and the pidfds of children,
//! and tells owners through their [`Events`]. It never runs the owners' code beyond that, takes
//! no lock of theirs, and has all signals blocked.
//!
//! Where it has the last reference to an owner, it ends the owner, which may hold a template: no
//! reference to an owner is dropped under the lock of [`State`].

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use manyhands_sys::clock::Deadline;
use manyhands_sys::event::{EventFd, poll};
use manyhands_sys::per_process::PerProcess;
use manyhands_sys::pid::{self, PidFd, Signal};
use manyhands_sys::rights::Rights;
use manyhands_sys::settings::Settings;
use manyhands_sys::thread::spawn_deaf;

use crate::launch::{ChildId, Event, Events};
use crate::template::{OrphanWatch, Template, TemplateStart, TemplateUse};

#[derive(Default)]
pub(crate) struct Supervisor {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The thread's alarm, while there is a thread.
    alarm: Option<Arc<EventFd>>,
    templates: Vec<Arc<Template>>,
    /// Templates that take no more launches; reaped when they end.
    leaving: Vec<Arc<Template>>,
    children: Vec<Arc<Child>>,
    /// Children that will be among them in a moment: the thread must stay.
    n_expected: usize,
    orphans: Vec<Arc<OrphanWatch>>,
}

struct Child {
    id: ChildId,
    process: PidFd,
    events: Arc<dyn Events>,
}

static CURRENT: PerProcess<Supervisor> = PerProcess::new();

const STACK_BYTES: usize = 256 * 1024;

/// How long a template may take to say how a child ended.
const REPORT_PATIENCE: Duration = Duration::from_millis(300);

/// How long a template may take to leave when the program ends.
const LEAVE_PATIENCE: Duration = Duration::from_millis(200);

/// In the child of a fork: the parent's children are not ours to watch.
pub fn forget_after_fork() {
    CURRENT.forget();
}

/// Ends all templates now and waits for their end.
pub fn stop_templates() {
    let supervisor = Supervisor::current();
    let mut state = supervisor.lock();
    let templates = std::mem::take(&mut state.templates);
    let mut all = state.leaving.clone();
    all.extend(templates.iter().cloned());
    state.leaving.extend(templates);
    state.wake();
    drop(state);
    for template in all {
        template.close_if_unused(true);
        template.dismiss();
        let patience = Some(Deadline::after(LEAVE_PATIENCE));
        let _ = pid::poll(&[], &[&template.process], patience);
        template.process.end_now();
    }
}

impl Supervisor {
    /// This process's supervisor.
    pub(crate) fn current() -> &'static Self {
        CURRENT.get()
    }

    /// Tells the owner of a direct child that it runs, watches it, and reaps it.
    ///
    /// # Errors
    /// If nobody can watch it. It is ended then, and its owner told nothing.
    pub(crate) fn adopt_child(
        &'static self,
        id: ChildId,
        pid: u32,
        process: PidFd,
        events: Arc<dyn Events>,
    ) -> io::Result<()> {
        let for_owner = process
            .try_clone()
            .and_then(|for_owner| self.expect_child().map(|()| for_owner))
            .inspect_err(|_| process.end_now())?;
        // Without the lock, which owners' locks may be around; and before the thread watches the
        // child, so that its end is told after its start.
        events.notify(Event::Started { id, pid, process: for_owner });
        let mut state = self.lock();
        state.n_expected -= 1;
        state.children.push(Arc::new(Child { id, process, events }));
        state.wake();
        Ok(())
    }

    /// There is a thread from now on, which stays for a child that is yet to come.
    fn expect_child(&'static self) -> io::Result<()> {
        let mut state = self.lock();
        self.keep_running(&mut state)?;
        state.n_expected += 1;
        Ok(())
    }

    pub(crate) fn template(
        &'static self,
        key: &[u8],
        start: TemplateStart<'_>,
    ) -> io::Result<TemplateUse> {
        if let Some(found) = self.find_template(key)? {
            return Ok(found);
        }
        let template = Template::start(key, start)?;
        let in_use = TemplateUse::new(Arc::clone(&template)).expect("a new template is open");
        let mut state = self.lock();
        if let Err(error) = self.keep_running(&mut state) {
            drop(state);
            template.process.end_now();
            return Err(error);
        }
        state.templates.push(template);
        state.wake();
        Ok(in_use)
    }

    pub(crate) fn find_template(&self, key: &[u8]) -> io::Result<Option<TemplateUse>> {
        self.dismiss_outdated(&Rights::of_program()?);
        let settings = Settings::of_program()?;
        let state = self.lock();
        let same_key = state.templates.iter().filter(|template| template.key == key);
        let mut suitable = same_key.filter(|template| template.reaches(&settings));
        Ok(suitable.find_map(|template| TemplateUse::new(Arc::clone(template))))
    }

    /// Tells templates to go that have other rights than `rights`, those of the program now. They
    /// are heard to their end: of the launches they were sent they may answer some.
    pub(crate) fn dismiss_outdated(&self, rights: &Rights) {
        let state = self.lock();
        for template in state.templates.iter().filter(|template| !template.has_rights(rights)) {
            template.close_if_unused(true);
            template.dismiss();
        }
    }

    /// Makes the thread look at its deadlines again.
    pub(crate) fn look_again(&self) {
        self.lock().wake();
    }

    fn keep_running(&'static self, state: &mut State) -> io::Result<()> {
        if state.alarm.is_none() {
            let alarm = Arc::new(EventFd::new()?);
            let for_thread = Arc::clone(&alarm);
            spawn_deaf("mh-supervisor", STACK_BYTES, move || self.run(&for_thread))?;
            // The thread's first look waits for our lock. Without a thread there is no alarm, so
            // that the next caller tries again.
            state.alarm = Some(alarm);
        }
        state.wake();
        Ok(())
    }

    fn run(&self, alarm: &EventFd) {
        loop {
            let watched = {
                self.give_up_stopped_templates();
                let mut state = self.lock();
                state.retire_templates();
                if state.is_idle() {
                    state.alarm = None;
                    return;
                }
                state.watched()
            };
            let mut fds: Vec<BorrowedFd<'_>> = vec![alarm.as_fd()];
            fds.extend(watched.templates.iter().map(|template| template.socket.as_fd()));
            let leaving = watched.leaving.iter().map(|template| &template.process);
            let children = watched.children.iter().map(|child| &child.process);
            let orphans = watched.orphans.iter().map(|orphan| &orphan.process);
            let processes: Vec<_> = leaving.chain(children).chain(orphans).collect();
            let ready = pid::poll(&fds, &processes, watched.deadline).unwrap_or_default();
            alarm.clear();
            for idx in ready {
                self.react(&watched, idx);
            }
        }
    }

    fn react(&self, watched: &Watched, ready: usize) {
        let Some(idx) = ready.checked_sub(1) else { return };
        let Some(idx) = find(&watched.templates, idx, |template| self.hear(template)) else {
            return;
        };
        let Some(idx) = find(&watched.leaving, idx, |template| self.reap_template(template)) else {
            return;
        };
        let Some(idx) = find(&watched.children, idx, |child| self.reap_child(child)) else {
            return;
        };
        find(&watched.orphans, idx, |orphan| self.bury_orphan(orphan));
    }

    /// Reads everything a template has said.
    fn hear(&self, template: &Arc<Template>) {
        loop {
            match template.socket.try_receive() {
                Ok(Some(message)) => {
                    if let Some(watch) = Template::handle(template, message) {
                        self.lock().orphans.push(Arc::new(watch));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Ok(None) | Err(_) => return self.lose(template),
            }
        }
        // Exits that were reported need no watch of ours any more.
        let told = self.lock().take_told_orphans();
        drop(told);
    }

    /// Templates that somebody has stopped while launches wait: see [`crate::template`].
    fn give_up_stopped_templates(&self) {
        let templates = self.lock().templates.clone();
        for template in templates.iter().filter(|template| template.is_given_up()) {
            // Also one that the kernel is slow to end does nothing more after this.
            let _ = template.process.signal(Signal::KILL);
            template.socket.shut();
            self.hear(template);
        }
    }

    /// The template has closed its socket: it is dead or about to be.
    fn lose(&self, template: &Arc<Template>) {
        let mut state = self.lock();
        state.templates.retain(|other| !Arc::ptr_eq(other, template));
        state.leaving.push(Arc::clone(template));
        // Those whose exit was among the template's last words are not news any more.
        let told = state.take_told_orphans();
        let running: Vec<_> = state.orphans.iter().map(|orphan| orphan.child).collect();
        drop(state);
        drop(told);
        template.bury(&running);
    }

    fn reap_template(&self, template: &Arc<Template>) {
        template.process.try_reap();
        self.lock().leaving.retain(|other| !Arc::ptr_eq(other, template));
    }

    fn reap_child(&self, child: &Arc<Child>) {
        if let Some(status) = child.process.try_reap() {
            self.lock().children.retain(|other| !Arc::ptr_eq(other, child));
            child.events.notify(Event::Exited { id: child.id, status });
        }
    }

    /// A forked child has ended. Its template reports how; without a template a new kernel can.
    fn bury_orphan(&self, orphan: &Arc<OrphanWatch>) {
        // The report is on its way, perhaps behind others, or the template is dying: either way
        // its socket speaks. A stopped template is not waited for: the death matters more than
        // its reason.
        let patience = Deadline::after(REPORT_PATIENCE);
        let template = &orphan.template;
        while template.awaits_exit_of(orphan.child) {
            self.hear(template);
            if patience.has_passed() || template.process.is_stopped() {
                break;
            }
            let _ = poll(&[template.socket.as_fd()], Some(patience));
        }
        let mut state = self.lock();
        let before = state.orphans.len();
        state.orphans.retain(|other| !Arc::ptr_eq(other, orphan));
        let is_news = state.orphans.len() < before;
        drop(state);
        if is_news {
            orphan.report_exit();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Watched {
    templates: Vec<Arc<Template>>,
    leaving: Vec<Arc<Template>>,
    children: Vec<Arc<Child>>,
    orphans: Vec<Arc<OrphanWatch>>,
    deadline: Option<Deadline>,
}

impl State {
    fn wake(&self) {
        if let Some(alarm) = &self.alarm {
            alarm.notify();
        }
    }

    /// Children whose exit was told, to be dropped without the lock.
    fn take_told_orphans(&mut self) -> Vec<Arc<OrphanWatch>> {
        self.orphans.extract_if(.., |orphan| !orphan.is_needed()).collect()
    }

    fn is_idle(&self) -> bool {
        self.templates.is_empty()
            && self.leaving.is_empty()
            && self.children.is_empty()
            && self.n_expected == 0
            && self.orphans.is_empty()
    }

    /// Tells templates that nobody has used for a while to go.
    fn retire_templates(&mut self) {
        let due = |template: &Arc<Template>| template.close_if_unused(false);
        for template in self.templates.extract_if(.., |template| due(template)) {
            template.dismiss();
            self.leaving.push(template);
        }
    }

    fn watched(&self) -> Watched {
        Watched {
            templates: self.templates.clone(),
            leaving: self.leaving.clone(),
            children: self.children.clone(),
            orphans: self.orphans.clone(),
            deadline: self.templates.iter().filter_map(|template| template.due_at()).min(),
        }
    }
}

/// Calls `react` with the entry at `idx`, or returns the index past this list.
fn find<T>(list: &[T], idx: usize, react: impl FnOnce(&T)) -> Option<usize> {
    match list.get(idx) {
        Some(entry) => {
            react(entry);
            None
        }
        None => Some(idx - list.len()),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::Weak;
    use std::sync::mpsc::{Receiver, Sender, channel};

    use manyhands_sys::pid::ExitStatus;
    use manyhands_sys::socket::MessageSocket;

    use super::*;
    use crate::message::{Report, encode};

    /// An owner that keeps a template in use, as a pool does, and says what it was told.
    struct Owner {
        _in_use: Option<TemplateUse>,
        told: Sender<()>,
        go_on: Mutex<Option<Receiver<()>>>,
    }

    impl Events for Owner {
        fn notify(&self, _event: Event) {
            self.told.send(()).expect("the test listens");
            if let Some(go_on) = &*self.go_on.lock().expect("nobody panicked") {
                go_on.recv().expect("the test says when");
            }
        }
    }

    #[test]
    fn an_owner_whose_child_begins_and_ends_unheard_is_ended_without_the_lock() {
        let (ours, theirs) = MessageSocket::pair().expect("a socket");
        let mut sleeping = Command::new("sleep").arg("60").spawn().expect("a process");
        let process = PidFd::open(sleeping.id()).expect("a child of ours");
        let start = TemplateStart::Forked(ours, process);
        let in_use = TemplateUse::get(b"begins and ends", start).expect("a template");
        let (told, listen) = channel();
        let (say, go_on) = channel();
        let me = PidFd::current().expect("a descriptor");
        let started = |id| encode(&Report::Started { id, pid: std::process::id() });

        // The thread is held up in an event of another owner, while all of this owner's happens.
        let go_on = Mutex::new(Some(go_on));
        let other = Arc::new(Owner { _in_use: None, told: told.clone(), go_on });
        in_use.fork_child(0, b"", &[], other).expect("a launch");
        let for_owner = TemplateUse::find(b"begins and ends").expect("asked").expect("it is there");
        let (heard, hears) = channel();
        let go_on = Mutex::new(None);
        let owner = Arc::new(Owner { _in_use: Some(for_owner), told: heard, go_on });
        let weak: Weak<Owner> = Arc::downgrade(&owner);
        in_use.fork_child(1, b"", &[], owner).expect("a launch");
        theirs.send(&started(0), &[me.as_fd()]).expect("it is read");
        listen.recv().expect("the first launch is answered");
        theirs.send(&started(1), &[me.as_fd()]).expect("it is read");
        theirs.send(&encode(&Report::exited(1, ExitStatus::Exited(0))), &[]).expect("it is read");
        // Now the owner is the template's last user, and the thread will be the owner's.
        drop(in_use);
        say.send(()).expect("it waits");
        hears.recv().expect("the start is told");
        hears.recv().expect("the exit is told");

        // The sender is the owner's, and goes with it.
        assert!(hears.recv().is_err());
        assert!(weak.upgrade().is_none());
        stop_templates();
        // The thread may have reaped it already.
        let _ = sleeping.wait();
    }
}
