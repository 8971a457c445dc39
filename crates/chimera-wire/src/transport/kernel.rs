//! The kernel's receive stamps of a TCP socket on Linux (`SO_TIMESTAMPNS`): with each read comes the time at which the
//! last byte of it reached the kernel, by `CLOCK_REALTIME`. Some reads carry none; they are counted by whoever reads.

use std::{
    io::{self, IoSliceMut},
    os::fd::{AsFd, AsRawFd},
};

use nix::sys::{
    socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt::ReceiveTimestampns},
    time::TimeSpec,
};

use super::Received;

/// Room for the control message of one read.
#[derive(Debug)]
pub(super) struct Stamps {
    control: Vec<u8>,
}

impl Stamps {
    /// Switches stamps on; `None` when this kernel or socket has none.
    pub(super) fn of(socket: &impl AsFd) -> Option<Self> {
        setsockopt(&socket.as_fd(), ReceiveTimestampns, &true).ok()?;
        Some(Self { control: nix::cmsg_space!(TimeSpec) })
    }

    /// One read without waiting.
    pub(super) fn receive(&mut self, socket: &impl AsFd, buffer: &mut [u8]) -> io::Result<Received> {
        let mut parts = [IoSliceMut::new(buffer)];
        let fd = socket.as_fd().as_raw_fd();
        let message = recvmsg::<()>(fd, &mut parts, Some(&mut self.control), MsgFlags::MSG_DONTWAIT)?;
        let mut kernel_unix_ns = None;
        // A control message that was cut off is no stamp.
        if let Ok(controls) = message.cmsgs() {
            for control in controls {
                if let ControlMessageOwned::ScmTimestampns(at) = control {
                    let seconds = u64::try_from(at.tv_sec()).ok();
                    let nanos = u64::try_from(at.tv_nsec()).ok();
                    kernel_unix_ns = seconds.zip(nanos).map(|(s, n)| s.saturating_mul(1_000_000_000) + n);
                }
            }
        }
        Ok(Received { bytes: message.bytes, kernel_unix_ns })
    }
}
