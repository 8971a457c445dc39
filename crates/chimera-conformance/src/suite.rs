//! The macro that turns the list of scenarios into tests.

/// Expands one test per scenario and per form of the backend: modules `value`, `boxed`, `shared`, `limited`, `recorded`,
/// `faulty` (an empty plan) and `traced`, each with a test `suite_is_complete` and a test `skips_are_declared`, which
/// says on stderr what is skipped and why.
///
/// - `backend`: `Fn(&Fixture) -> impl InferenceBackend`, a fresh backend on the fixture's clock;
/// - `fixture`: `Fn() -> Fixture`;
/// - `block_on`: path of a function that runs a future to its end;
/// - `missing`, where a machine may lack what the backend runs on: `Fn() -> Option<String>`, the reason why nothing can be
///   run here. Every test then says so and returns.
///
/// One module of a test crate holds one suite. See the crate's documentation for an example.
#[macro_export]
macro_rules! conformance_suite {
    (backend: $backend:expr, fixture: $fixture:expr, block_on: $block_on:path $(,)?) => {
        $crate::conformance_suite! {
            backend: $backend,
            fixture: $fixture,
            block_on: $block_on,
            missing: || None,
        }
    };
    (backend: $backend:expr, fixture: $fixture:expr, block_on: $block_on:path, missing: $missing:expr $(,)?) => {
        fn __conformance_missing() -> ::std::option::Option<::std::string::String> {
            $crate::support::missing($missing)
        }
        fn __conformance_subject(
            form: fn(&$crate::Fixture) -> ::std::sync::Arc<dyn ::chimera_core::InferenceBackend>,
        ) -> $crate::Subject {
            let fixture: $crate::Fixture = ($fixture)();
            $crate::Subject::new(form(&fixture), fixture)
        }
        fn __conformance_backend(fixture: &$crate::Fixture) -> impl ::chimera_core::InferenceBackend {
            $crate::support::make($backend, fixture)
        }
        fn __conformance_block_on<F: ::std::future::Future>(future: F) -> F::Output {
            $block_on(future)
        }
        $crate::__scenarios!(__suite_module, value);
        $crate::__scenarios!(__suite_module, boxed);
        $crate::__scenarios!(__suite_module, shared);
        $crate::__scenarios!(__suite_module, limited);
        $crate::__scenarios!(__suite_module, recorded);
        $crate::__scenarios!(__suite_module, faulty);
        $crate::__scenarios!(__suite_module, traced);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __suite_module {
    ([$form:ident] $($name:ident [$($need:ident),*];)+) => {
        mod $form {
            /// Nothing, and a line that says why, where what the suite runs on is not on this machine.
            fn subject() -> ::std::option::Option<$crate::Subject> {
                if let Some(reason) = super::__conformance_missing() {
                    println!("SKIP: {reason}");
                    return None;
                }
                Some(super::__conformance_subject(|fixture| {
                    $crate::support::$form(super::__conformance_backend(fixture))
                }))
            }

            #[test]
            fn suite_is_complete() {
                let listed: Vec<_> = $crate::SCENARIOS.iter().map(|scenario| scenario.name).collect();
                assert_eq!([$(stringify!($name)),+][..], listed[..]);
            }

            #[test]
            fn skips_are_declared() {
                let Some(subject) = subject() else { return };
                match super::__conformance_block_on($crate::planned_skips(&subject)) {
                    Ok(skips) => $crate::support::announce(module_path!(), &skips),
                    Err(failure) => panic!("{failure}"),
                }
            }

            $(
                #[test]
                fn $name() {
                    let Some(subject) = subject() else { return };
                    match super::__conformance_block_on($crate::run(stringify!($name), &subject)) {
                        Ok($crate::Verdict::Passed) => {}
                        Ok($crate::Verdict::Skipped { reason }) => println!("SKIP: {reason}"),
                        Err(failure) => panic!("{}: {failure}", stringify!($name)),
                    }
                }
            )+
        }
    };
}
