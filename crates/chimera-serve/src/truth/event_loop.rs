//! The server's one thread: connections, requests, and a heap of times at which something is due.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    io::{self, ErrorKind, Read, Write},
    net::Shutdown,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Duration,
};

use chimera_core::{Clock, Stamp};
use mio::{
    Events, Interest, Poll, Token, Waker,
    net::{TcpListener, TcpStream},
};

use super::{
    Limits, Shared,
    parse::{Parsed, Resume, parse},
    play::{Fate, Play, Turn},
    record::{Ending, TruthRecord},
    route::{Routed, Router},
    timer::Timer,
};

const LISTENER: Token = Token(0);
const WAKER: Token = Token(1);
const TIMER: Token = Token(2);
/// The token of the first connection.
const FIRST: usize = 3;
/// Bytes of further requests that are read while an answer is under way.
const AHEAD: usize = 64 << 10;
/// How long a connection that was closed by the server is still read, so that the client sees a FIN and no RST.
const LINGER: Duration = Duration::from_secs(2);
/// Most bytes that are read and thrown away in one turn.
const THROW: usize = 4 << 20;
/// When to try again after the system ran out of descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(10);

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Alarm {
    Step,
    Deadline,
    Accept,
}

/// Time, slot, number of the connection (slots are used again), kind.
type Due = Reverse<(Stamp, usize, u64, Alarm)>;

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    number: u64,
    input: Vec<u8>,
    /// No use in parsing before this many bytes are there.
    need: usize,
    resume: Resume,
    /// The system may have more bytes: the poll tells only once.
    readable: bool,
    eof: bool,
    /// A request has begun.
    receiving: bool,
    continued: bool,
    play: Option<Play>,
    blocked: bool,
    stalled: bool,
    /// The server has sent its last byte and waits for the client to see that.
    closing: bool,
    step: Option<Stamp>,
    deadline: Option<Stamp>,
    /// The earliest alarm for the deadline that is in the heap.
    armed: Option<Stamp>,
}

/// What is left to do with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Go,
    Wait,
    Drop,
}

/// The server's thread.
pub(super) struct EventLoop {
    poll: Poll,
    timer: Timer,
    listener: TcpListener,
    clock: Arc<dyn Clock>,
    limits: Limits,
    router: Router,
    shared: Arc<Shared>,
    slots: Vec<Option<Connection>>,
    free: Vec<usize>,
    heap: BinaryHeap<Due>,
    accepted: u64,
    requests: u64,
    buffer: Vec<u8>,
}

impl EventLoop {
    pub(super) fn new(
        mut listener: TcpListener,
        clock: Arc<dyn Clock>,
        limits: Limits,
        router: Router,
        shared: Arc<Shared>,
    ) -> io::Result<(Self, Arc<Waker>)> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let timer = Timer::new(poll.registry(), TIMER)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let event_loop = Self {
            poll,
            timer,
            listener,
            clock,
            limits,
            router,
            shared,
            slots: Vec::new(),
            free: Vec::new(),
            heap: BinaryHeap::new(),
            accepted: 0,
            requests: 0,
            buffer: vec![0; 64 << 10],
        };
        Ok((event_loop, waker))
    }

    pub(super) fn run(mut self) -> io::Result<()> {
        let result = self.serve();
        for slot in 0..self.slots.len() {
            self.drop_connection(slot, Ending::Stopped);
        }
        result
    }

    fn serve(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut due = Vec::new();
        while !self.shared.stop.load(Ordering::Acquire) {
            let wait = match self.heap.peek() {
                Some(Reverse((at, ..))) => self.timer.arm(at.since(self.clock.now()).unwrap_or_default())?,
                None => None,
            };
            match self.poll.poll(&mut events, wait) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            for event in events.iter() {
                match event.token() {
                    LISTENER => self.accept(),
                    WAKER | TIMER => {}
                    Token(token) => {
                        let slot = token - FIRST;
                        if let Some(Some(connection)) = self.slots.get_mut(slot) {
                            connection.readable |=
                                event.is_readable() || event.is_read_closed() || event.is_error();
                            connection.blocked &= !event.is_writable();
                            self.pump(slot);
                        }
                    }
                }
            }
            // All that is due now and nothing that becomes due meanwhile: events come first again.
            let now = self.clock.now();
            while let Some(Reverse(first)) = self.heap.peek()
                && first.0 <= now
            {
                due.push(*first);
                self.heap.pop();
            }
            for (at, slot, number, alarm) in due.drain(..) {
                self.ring(at, slot, number, alarm, now);
            }
        }
        Ok(())
    }

    fn accept(&mut self) {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error)
                    if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) =>
                {
                    continue;
                }
                Err(_) => {
                    let again = self.clock.now().after(ACCEPT_AGAIN);
                    self.heap.push(Reverse((again, 0, 0, Alarm::Accept)));
                    return;
                }
            };
            if self.slots.len() - self.free.len() >= self.limits.connections {
                continue;
            }
            self.accepted += 1;
            let slot = self.free.pop().unwrap_or_else(|| {
                self.slots.push(None);
                self.slots.len() - 1
            });
            // Without it the system may hold bytes back after the stamp. A connection that is gone already shows later.
            let _ = stream.set_nodelay(true);
            let interest = Interest::READABLE | Interest::WRITABLE;
            if self.poll.registry().register(&mut stream, Token(slot + FIRST), interest).is_err() {
                self.free.push(slot);
                continue;
            }
            self.slots[slot] = Some(Connection {
                stream,
                number: self.accepted,
                input: Vec::new(),
                need: 0,
                resume: Resume::default(),
                readable: true,
                eof: false,
                receiving: false,
                continued: false,
                play: None,
                blocked: false,
                stalled: false,
                closing: false,
                step: None,
                deadline: None,
                armed: None,
            });
            self.set_deadline(slot, self.limits.request);
            self.pump(slot);
        }
    }

    fn set_deadline(&mut self, slot: usize, wait: Duration) {
        let at = self.clock.now().after(wait);
        if let Some(Some(connection)) = self.slots.get_mut(slot) {
            connection.deadline = Some(at);
            if connection.armed.is_none_or(|armed| armed > at) {
                connection.armed = Some(at);
                self.heap.push(Reverse((at, slot, connection.number, Alarm::Deadline)));
            }
        }
    }

    fn ring(&mut self, at: Stamp, slot: usize, number: u64, alarm: Alarm, now: Stamp) {
        if alarm == Alarm::Accept {
            return self.accept();
        }
        let Some(Some(connection)) = self.slots.get_mut(slot) else { return };
        if connection.number != number {
            return;
        }
        match alarm {
            Alarm::Step if connection.step == Some(at) => {
                connection.step = None;
                self.pump(slot);
            }
            Alarm::Deadline => {
                if connection.armed == Some(at) {
                    connection.armed = None;
                }
                match connection.deadline {
                    Some(deadline) if deadline <= now => self.expire(slot),
                    Some(deadline) if connection.armed.is_none() => {
                        connection.armed = Some(deadline);
                        self.heap.push(Reverse((deadline, slot, number, Alarm::Deadline)));
                    }
                    _ => {}
                }
            }
            Alarm::Step | Alarm::Accept => {}
        }
    }

    /// A deadline has passed: for a request, for an idle connection, or for the client to see the end.
    fn expire(&mut self, slot: usize) {
        let Some(Some(connection)) = self.slots.get_mut(slot) else { return };
        connection.deadline = None;
        if connection.receiving && !connection.closing {
            self.refuse(slot, 408, "the request is too slow");
            self.pump(slot);
        } else {
            self.drop_connection(slot, Ending::ClientLeft);
        }
    }

    /// Does with a connection what can be done now.
    fn pump(&mut self, slot: usize) {
        loop {
            match self.read(slot) {
                Next::Drop => return self.drop_connection(slot, Ending::ClientLeft),
                Next::Go | Next::Wait => {}
            }
            let Some(Some(connection)) = self.slots.get(slot) else { return };
            let next = if connection.closing {
                if connection.eof { Next::Drop } else { Next::Wait }
            } else if connection.play.is_some() {
                self.play(slot)
            } else {
                self.request(slot)
            };
            match next {
                Next::Go => {}
                Next::Wait => return,
                Next::Drop => return self.drop_connection(slot, Ending::ClientLeft),
            }
        }
    }

    /// Takes what has arrived.
    fn read(&mut self, slot: usize) -> Next {
        let Some(Some(connection)) = self.slots.get_mut(slot) else { return Next::Wait };
        let mut thrown = 0;
        while connection.readable && !connection.eof {
            if thrown >= THROW {
                let now = self.clock.now();
                connection.step = Some(now);
                self.heap.push(Reverse((now, slot, connection.number, Alarm::Step)));
                break;
            }
            // What comes while an answer is under way waits in the system's buffers.
            if connection.play.is_some() && connection.input.len() >= AHEAD {
                break;
            }
            // A whole request may be there: the rest is read after it.
            if connection.play.is_none()
                && !connection.closing
                && connection.input.len() >= connection.need.max(1 << 20)
            {
                break;
            }
            match connection.stream.read(&mut self.buffer) {
                Ok(0) => connection.eof = true,
                Ok(n) if connection.closing => thrown += n,
                Ok(n) => connection.input.extend_from_slice(&self.buffer[..n]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => connection.readable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Next::Drop,
            }
        }
        if connection.eof && connection.stalled { Next::Drop } else { Next::Go }
    }

    /// Reads a request, if a whole one is there, and begins its answer.
    fn request(&mut self, slot: usize) -> Next {
        let Some(Some(connection)) = self.slots.get_mut(slot) else { return Next::Wait };
        if connection.input.is_empty() {
            return if connection.eof { Next::Drop } else { Next::Wait };
        }
        let begins = !std::mem::replace(&mut connection.receiving, true);
        let parsed = if connection.input.len() < connection.need {
            None
        } else {
            Some(parse(&connection.input, &self.limits, &mut connection.resume))
        };
        match parsed {
            None | Some(Parsed::More { .. }) if connection.eof => return Next::Drop,
            None => {}
            Some(Parsed::More { expects, need }) => {
                connection.need = need;
                if expects && !std::mem::replace(&mut connection.continued, true) {
                    // Nothing is waiting to be written, so these few bytes are taken at once, or the client is gone.
                    let _ = connection.stream.write(b"HTTP/1.1 100 Continue\r\n\r\n");
                }
            }
            Some(Parsed::Whole(request)) => {
                let received = self.clock.now();
                connection.input.drain(..request.length);
                let routed = self.router.answer(&request);
                let close = request.close || request.old;
                self.begin(slot, routed, received, (request.method, request.path), close, Ending::Done);
                return Next::Go;
            }
            Some(Parsed::Wrong(status, reason)) => {
                self.refuse(slot, status, reason);
                return Next::Go;
            }
        }
        let more = connection.readable;
        if begins {
            self.set_deadline(slot, self.limits.request);
        }
        if more { Next::Go } else { Next::Wait }
    }

    fn refuse(&mut self, slot: usize, status: u16, reason: &str) {
        let routed = Routed {
            prepared: Arc::new(Router::refusal(status, reason)),
            model: None,
            load: Duration::ZERO,
            prompt_tokens: 0,
        };
        let received = self.clock.now();
        self.begin(slot, routed, received, (String::new(), String::new()), true, Ending::Refused);
    }

    fn begin(
        &mut self,
        slot: usize,
        routed: Routed,
        received: Stamp,
        (method, path): (String, String),
        close: bool,
        ending: Ending,
    ) {
        let Some(Some(connection)) = self.slots.get_mut(slot) else { return };
        self.requests += 1;
        let record = TruthRecord {
            request: self.requests,
            connection: connection.number,
            method,
            path,
            model: routed.model.clone(),
            status: routed.prepared.status,
            received,
            head: None,
            // Room for the usual answer, so that the log does not grow while it is played.
            writes: Vec::with_capacity(routed.prepared.pieces.len() + 8),
            end: received,
            ending,
            bytes: 0,
            fault: routed.prepared.fault.clone(),
        };
        connection.play = Some(Play::new(record, routed, close));
        connection.need = 0;
        connection.resume = Resume::default();
        connection.receiving = false;
        connection.continued = false;
        connection.deadline = None;
    }

    /// Goes on with an answer.
    fn play(&mut self, slot: usize) -> Next {
        let Some(Some(connection)) = self.slots.get_mut(slot) else { return Next::Wait };
        let Some(play) = &mut connection.play else { return Next::Go };
        if connection.blocked || connection.stalled {
            return Next::Wait;
        }
        let number = connection.number;
        match play.advance(&mut connection.stream, &*self.clock) {
            Turn::Due(at) => {
                if connection.step != Some(at) {
                    connection.step = Some(at);
                    self.heap.push(Reverse((at, slot, number, Alarm::Step)));
                }
                Next::Wait
            }
            Turn::Yield => {
                let now = self.clock.now();
                connection.step = Some(now);
                self.heap.push(Reverse((now, slot, number, Alarm::Step)));
                Next::Wait
            }
            Turn::Blocked => {
                connection.blocked = true;
                Next::Wait
            }
            Turn::Stalled => {
                connection.stalled = true;
                if connection.eof { Next::Drop } else { Next::Wait }
            }
            Turn::Ended(ending, fate) => {
                match fate {
                    Fate::Reset => {
                        // A linger of zero makes the system send RST when the descriptor is closed. Should it refuse, the
                        // client sees a FIN, and the record says so.
                        let socket = socket2::SockRef::from(&connection.stream);
                        let reset = socket.set_linger(Some(Duration::ZERO)).is_ok();
                        self.finish(slot, if reset { ending } else { Ending::Closed });
                        Next::Drop
                    }
                    Fate::Shut => {
                        connection.closing = true;
                        connection.input = Vec::new();
                        // It fails where the client is gone already, which reading will tell.
                        let _ = connection.stream.shutdown(Shutdown::Write);
                        self.finish(slot, ending);
                        self.set_deadline(slot, LINGER);
                        Next::Go
                    }
                    Fate::Keep => {
                        self.finish(slot, ending);
                        self.set_deadline(slot, self.limits.idle);
                        Next::Go
                    }
                }
            }
        }
    }

    /// Closes the record of the answer under way.
    fn finish(&mut self, slot: usize, ending: Ending) {
        let Some(Some(connection)) = self.slots.get_mut(slot) else { return };
        let Some(play) = connection.play.take() else { return };
        let mut record = play.record;
        record.end = self.clock.now();
        record.ending = if connection.stalled { Ending::Stalled } else { ending };
        self.shared.records.lock().unwrap_or_else(PoisonError::into_inner).push(record);
    }

    fn drop_connection(&mut self, slot: usize, ending: Ending) {
        self.finish(slot, ending);
        let Some(place) = self.slots.get_mut(slot) else { return };
        if let Some(mut connection) = place.take() {
            // Closing the descriptor deregisters it too.
            let _ = self.poll.registry().deregister(&mut connection.stream);
            self.free.push(slot);
        }
    }
}
