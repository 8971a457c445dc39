//! What the power samples of these runs are worth: when they were taken, whether they lie above idle, and what the device
//! that was not counted adds.

use chimera_report::{Axis, Column, Headline, Plot, Section, Series, Style, Table};
use chimera_stats::{
    Sample,
    hypothesis::{self, Alternative},
};

use super::{
    super::{
        family::{Corrected, Family, cell, put, shown},
        shared::mean,
    },
    cost,
    legacy::{Published, over},
    read::{BACKENDS, MODES, Matrix, Run, Runs, on_gpu},
};
use crate::{ReplayError, Values};

/// Mean power of the idle GPU in watts as TR122 states it; its samples were never published.
const IDLE_W: f64 = 20.71;

/// Adds everything on energy.
pub(super) fn values(
    values: &mut Values,
    runs: &Runs,
    published: &Matrix<Published>,
    tests: &mut Family,
) -> Result<(), ReplayError> {
    values.put("stated.idle_w", "W", IDLE_W);
    let mut total = 0.0;
    for (mode, name) in MODES.iter().enumerate() {
        let all: Vec<&Run> = runs.cells.mode(mode).iter().flatten().collect();
        let share = |count: usize| 100.0 * count as f64 / all.len() as f64;
        values.put(
            format!("energy.no_data.{name}"),
            "%",
            share(all.iter().filter(|run| run.samples < 2.0).count()),
        );
        values.put(
            format!("energy.window_zero.{name}"),
            "%",
            share(all.iter().filter(|run| run.window_s <= 0.0).count()),
        );
        let timed: Vec<f64> = all.iter().map(|run| run.seconds).collect();
        let window: f64 = all.iter().map(|run| run.window_s).sum();
        total += window;
        let sample = Sample::new(&timed, "run").map_err(ReplayError::at("timed work"))?;
        values.put(format!("energy.timed_median_s.{name}"), "s", sample.median());
        values.put(format!("energy.window_s.{name}"), "s", window);
        let mut below = 0.0;
        for (backend, backend_name) in BACKENDS.iter().enumerate() {
            let place = format!("{name}.{backend_name}");
            let cells = published.of(mode, backend);
            full_system(values, &place, cells);
            let runs: Vec<&Run> = runs.cells.of(mode, backend).iter().flatten().collect();
            let percent: Vec<f64> = runs.iter().filter_map(|run| run.gpu_percent).collect();
            put(values, format!("energy.gpu_percent.{place}"), "%", mean(&percent, "run"));
            if !on_gpu(backend) {
                for what in ["net_w", "net_kwh_per_1m"] {
                    let reason = "the idle power of the CPU package was not measured";
                    values.lacks(format!("energy.{what}.{place}"), reason);
                }
                continue;
            }
            below += cells.iter().filter(|cell| cell.watts < IDLE_W).count() as f64;
            let net: Vec<f64> =
                runs.iter().filter_map(|run| run.gpu_watts).map(|watts| watts - IDLE_W).collect();
            put(values, format!("energy.net_w.{place}"), "W", mean(&net, "run"));
            let zero = Sample::new(&net, "run")
                .and_then(|net| hypothesis::one_sample_t(net, 0.0, Alternative::TwoSided));
            tests.add(values, &format!("energy.net_w.{place}"), zero);
            let kwh = over(cells, |cell| cost::kwh(cell.watts - IDLE_W, cell.seconds));
            values.put(format!("energy.net_kwh_per_1m.{place}"), "kWh", kwh);
        }
        values.put(format!("energy.cells_below_idle.{name}"), "", below);
    }
    values.put("energy.window_s.both", "s", total);
    Ok(())
}

/// CPU package and GPU together, in the same windows.
fn full_system(values: &mut Values, place: &str, cells: &[Published]) {
    let watts: Option<Vec<f64>> = cells.iter().map(|cell| cell.both_watts).collect();
    let Some(watts) = watts else {
        for what in ["kwh_per_1m", "times_published", "share"] {
            values.lacks(format!("full.{what}.{place}"), "one of the two powers was not sampled in a cell");
        }
        return;
    };
    let kwh = cells.iter().zip(&watts).map(|(cell, watts)| cost::kwh(*watts, cell.seconds)).sum::<f64>()
        / cells.len() as f64;
    let energy = cost::energy_usd(kwh);
    values.put(format!("full.kwh_per_1m.{place}"), "kWh", kwh);
    values.put(format!("full.times_published.{place}"), "", kwh / over(cells, |cell| cell.kwh));
    values.put(
        format!("full.share.{place}"),
        "%",
        100.0 * energy / (over(cells, |cell| cell.infra) + energy),
    );
}

/// Whether the watts are above idle.
pub(super) fn headline(values: &Values, corrected: &Corrected) -> Headline {
    let name = format!("energy.net_w.{}.{}", MODES[0], BACKENDS[0]);
    let above = values.point(&name).is_some_and(|net| net > 0.0);
    Headline::new(
        "energy",
        format!("The watts of {} in {} are those of its work", BACKENDS[0], MODES[0]),
        corrected.verdict(&name, above),
        format!(
            "{} of all {} runs have fewer than two power samples, and the first is taken before any work. Sampled power minus the \
             idle mean that TR122 states: {} ({}); {} of 15 cells on the GPU lie below idle.",
            shown(values, &format!("energy.no_data.{}", MODES[0])),
            MODES[0],
            shown(values, &name),
            corrected.words(&name),
            shown(values, &format!("energy.cells_below_idle.{}", MODES[0])),
        ),
    )
    .value(cell(values, &name), "W")
}

/// The power samples.
pub(super) fn section(values: &Values) -> Section {
    let mut windows = Table::new("windows", "Power samples and the work they should cover")
        .caption(
            "A window holds loading, warm-up and both calls; its first sample is taken at its start, the next after 0.25 s. Below \
             two samples there is no energy.",
        )
        .column(Column::text("mode", "Mode"))
        .column(Column::number("no-data", "Runs with fewer than two samples", "%"))
        .column(Column::number("zero", "Windows of zero length", "%"))
        .column(Column::number("timed", "Median timed work of a run", "s"))
        .column(Column::number("window", "All windows", "s"))
        .column(Column::number("below", "GPU cells below idle", ""));
    for mode in MODES {
        let of = |what: &str| cell(values, &format!("energy.{what}.{mode}"));
        windows.push_row([
            mode.into(),
            of("no_data"),
            of("window_zero"),
            of("timed_median_s"),
            of("window_s"),
            of("cells_below_idle"),
        ]);
    }
    let mut devices = Table::new("devices", "Energy of a million tokens: published, above idle, of both devices")
        .caption(format!(
            "Above idle: published watts minus {IDLE_W} W, the idle mean of the GPU as TR122 states it, an input here; not clamped. \
             Both devices: CPU package and GPU added, in the published windows; the share is that of energy in the whole cost."
        ))
        .column(Column::text("mode", "Mode"))
        .column(Column::text("backend", "Backend"))
        .column(Column::number("published", "Published", "kWh"))
        .column(Column::number("net-w", "Watts above idle", "W"))
        .column(Column::number("net", "Above idle", "kWh"))
        .column(Column::number("full", "Both devices", "kWh"))
        .column(Column::number("times", "Both over published", ""))
        .column(Column::number("share", "Share of cost, both", "%"));
    let axis = Axis::categories("Backend", BACKENDS.into_iter().filter(|name| name.contains("gpu")));
    let mut plot = Plot::new("watts", "Sampled GPU power above idle", axis, Axis::linear("Above idle", "W"))
        .caption("Mean over runs with its t interval; the idle mean is TR122's stated number, without an error of its own.")
        .horizontal(0.0, "idle");
    for mode in MODES {
        let mut series = Series::new(mode, Style::Points);
        for (backend, name) in BACKENDS.iter().enumerate() {
            let of = |what: &str| cell(values, &format!("{what}.{mode}.{name}"));
            devices.push_row([
                mode.into(),
                (*name).into(),
                cell(values, &format!("legacy.{mode}.{name}.kwh_per_1m")),
                of("energy.net_w"),
                of("energy.net_kwh_per_1m"),
                of("full.kwh_per_1m"),
                of("full.times_published"),
                of("full.share"),
            ]);
            if let Some(crate::Value::Estimate { estimate, .. }) =
                values.get(&format!("energy.net_w.{mode}.{name}"))
            {
                series = series.estimate(backend as f64, estimate);
            }
        }
        plot = plot.series(series);
    }
    Section::new("energy", "What the power samples are worth").table(windows).table(devices).plot(plot)
}
