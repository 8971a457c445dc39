//! Feeds bytes, read as floats of every kind, to every public function of the statistics and checks what comes back:
//! no panic, nothing that is not finite where a value is given, no p outside 0 to 1, no interval upside down. The fuzz
//! target and an ordinary seeded test share it.

mod checks;
mod input;
mod lines;
mod samples;

pub(crate) use checks::seen;
use input::Input;

/// Runs the functions that the first byte picks on the rest.
pub(crate) fn drive(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    match input.byte() % 9 {
        0 => samples::describe(&mut input),
        1 => samples::one(&mut input),
        2 => samples::arms(&mut input),
        3 => samples::groups(&mut input),
        4 => samples::blocks(&mut input),
        5 => samples::series(&mut input),
        6 => samples::plans(&mut input),
        7 => lines::lines(&mut input),
        _ => lines::ranks_and_crossings(&mut input),
    }
}
