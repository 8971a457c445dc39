//! `cargo xtask`: starts the binaries and runs the checks. It links none of the heavy crates, so that it starts at
//! once; what it runs is built by cargo with the profile and the flags that `build` describes.

mod build;
mod fetch;
mod group;
mod lint;
mod native;
mod python;
mod server;
mod study;
mod test;
mod tools;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask <command>

  tr121 [options]     measure, analyse and write the report TR121   (--help lists the options)
  trNNN --artifacts DIR
                      a published report again, from its published data (tr108 to tr121, every version)
  claims --artifacts DIR
                      every published claim: value, recomputed value, status
  artifacts import CLONE
                      the published data out of a clone of their repository
  test [filter]       every test that can run here; says at its end what was skipped and why
  lint                rustfmt, clippy and rustdoc, warnings denied
  ci                  test, then lint
  bench [filter]      the criterion benches
  bench-stats         the benches of the statistics, and the bootstrap beside scipy's, taking turns
  bench-engines ENGINE [MODEL [BLOCKS]]
                      our adapter of an engine beside the loops that people would write without it, taking turns
  bench-tools         aiperf, guidellm and `chimera bench` on one scripted server: what each reports beside the truth
  bench-clients       our client, reqwest, and asyncio with httpx on one scripted server, taking turns
  calibrate [--paper] what the statistics promise beside what they hold in simulated studies, as tables; --paper takes
                      a quarter of an hour and is what docs/calibration.md shows
  models <...>        list, make, fetch or convert models           (chimera models --help)
  runs <...>          list, show or merge run directories           (chimera runs --help)
  compare A B         hold a run against another; the exit code says whether it regressed
  power --from RUN    how many blocks the next comparison needs
  aa RUN...           how often this machine calls a difference where there is none
  probe               which backends work here, and what mends the others
  serve [options]     a server that speaks as Ollama and OpenAI do   (--help lists the options)
  prove [options]     our own error, measured against a server that knows the truth
  fetch [name]        programs of others that tests and users may want, a real Ollama for instance
";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let command = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    let done = match command.as_str() {
        report if study::is_report(report) => study::report(report, &rest),
        "models" | "runs" | "probe" | "compare" | "power" | "aa" | "claims" | "artifacts" | "serve"
        | "prove" => study::chimera(&command, &rest),
        "test" => test::run(&rest),
        "fetch" => fetch::run(&rest),
        "lint" => lint::run(),
        "bench" => build::bench(&rest),
        "bench-stats" => build::bench_stats(),
        "bench-engines" => build::bench_engines(&rest),
        "bench-clients" => build::bench_clients(),
        "bench-tools" => tools::run(),
        "calibrate" => build::example("calibration", &rest),
        "ci" => test::run(&[]).and_then(|code| if code == 0 { lint::run() } else { Ok(code) }),
        "" | "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(0)
        }
        other => {
            eprint!("xtask: no command `{other}`\n\n{HELP}");
            Ok(2)
        }
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
