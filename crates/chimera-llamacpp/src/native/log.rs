//! What llama.cpp says goes to `tracing`; its errors are kept too, since its functions return no reasons.

use std::{
    cell::RefCell,
    ffi::{CStr, c_char, c_void},
    sync::Once,
};

use llama_cpp_sys_2 as sys;

/// The longest text of errors that is kept.
const KEPT: usize = 2000;

thread_local! {
    /// Errors of this thread since they were last taken.
    static ERRORS: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Makes llama.cpp speak to us instead of to stderr.
pub(super) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        #[expect(
            unsafe_code,
            reason = "llama-cpp-2's own handler keeps no errors and panics at a level it does not know"
        )]
        // SAFETY: `hear` is a function that lives as long as the process, and it needs no data.
        unsafe {
            sys::llama_log_set(Some(hear), std::ptr::null_mut());
        }
    });
}

/// What llama.cpp complained about in this thread since the last call, in one line.
pub(super) fn take_errors() -> String {
    ERRORS.take().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[expect(unsafe_code, reason = "called by llama.cpp")]
unsafe extern "C" fn hear(level: sys::ggml_log_level, text: *const c_char, _: *mut c_void) {
    if text.is_null() {
        return;
    }
    // SAFETY: llama.cpp hands over a string that ends with a zero and lives as long as this call.
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
    let line = text.trim_end();
    match level {
        sys::GGML_LOG_LEVEL_ERROR => {
            tracing::error!(target: "llama.cpp", "{line}");
            // A thread that is about to end has nobody who would ask.
            let _ = ERRORS.try_with(|errors| {
                let mut errors = errors.borrow_mut();
                if errors.len() + text.len() <= KEPT {
                    errors.push_str(&text);
                }
            });
        }
        sys::GGML_LOG_LEVEL_WARN => tracing::warn!(target: "llama.cpp", "{line}"),
        sys::GGML_LOG_LEVEL_INFO => tracing::debug!(target: "llama.cpp", "{line}"),
        _ => tracing::trace!(target: "llama.cpp", "{line}"),
    }
}
