//! Waiting until a time. The system's poll counts in whole milliseconds on Linux; a timer among its sources counts in
//! nanoseconds.

use std::{io, time::Duration};

/// A timer of the poll, where the system has a finer one than the poll itself.
#[cfg(target_os = "linux")]
pub(super) struct Timer(nix::sys::timerfd::TimerFd);

#[cfg(target_os = "linux")]
impl Timer {
    pub(super) fn new(registry: &mio::Registry, token: mio::Token) -> io::Result<Self> {
        use std::os::fd::{AsFd, AsRawFd};

        use nix::sys::timerfd::{ClockId, TimerFd, TimerFlags};
        let timer =
            TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        let fd = timer.as_fd().as_raw_fd();
        registry.register(&mut mio::unix::SourceFd(&fd), token, mio::Interest::READABLE)?;
        Ok(Self(timer))
    }

    /// How long the poll may sleep so that it wakes after `wait`. Setting a timer again also forgets that it rang.
    pub(super) fn arm(&mut self, wait: Duration) -> io::Result<Option<Duration>> {
        use nix::sys::timerfd::{Expiration, TimerSetTimeFlags};
        if wait.is_zero() {
            return Ok(Some(wait));
        }
        self.0.set(Expiration::OneShot(wait.into()), TimerSetTimeFlags::empty())?;
        Ok(None)
    }
}

/// No timer: the poll's own sleep is all there is.
#[cfg(not(target_os = "linux"))]
pub(super) struct Timer;

#[cfg(not(target_os = "linux"))]
impl Timer {
    pub(super) fn new(_: &mio::Registry, _: mio::Token) -> io::Result<Self> {
        Ok(Self)
    }

    pub(super) fn arm(&mut self, wait: Duration) -> io::Result<Option<Duration>> {
        Ok(Some(wait))
    }
}
