//! A simulated inference backend with known laws, on a virtual or a real clock.
