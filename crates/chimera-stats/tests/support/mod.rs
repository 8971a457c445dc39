//! Seeded noise and counting, shared by the simulations.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};

/// Standard normal values by Box and Muller.
pub(crate) struct Normals(Xoshiro256PlusPlus);

impl Normals {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    pub(crate) fn uniform(&mut self) -> f64 {
        ((self.0.next_u64() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    pub(crate) fn next(&mut self) -> f64 {
        let (u, v) = (self.uniform(), self.uniform());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }
}

/// Share of `studies` seeded studies of which `holds` is true.
pub(crate) fn share(studies: u64, holds: impl Fn(&mut Normals) -> bool) -> f64 {
    (0..studies).filter(|seed| holds(&mut Normals::new(*seed))).count() as f64 / studies as f64
}
