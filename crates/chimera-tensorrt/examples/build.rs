//! Builds a model's engine for a named compute capability and says what it is made of. It takes NVIDIA's library and no
//! device: `build FOLDER [CAPABILITY] [ENGINE-FILE]`.
#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use chimera_core::{LoadOptions, ModelRef, SystemClock};
use chimera_tensorrt::{BuildOptions, Capability, TensorRtBackend};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let folder = args.next().ok_or("usage: build FOLDER [CAPABILITY] [ENGINE-FILE]")?;
    let capability: Capability = args.next().unwrap_or_else(|| "8.9".to_owned()).parse()?;
    let backend = TensorRtBackend::builder(SystemClock::new()).options(BuildOptions::new(capability)).build();
    let ready = backend.build_engine(&ModelRef::at(folder.as_str(), &folder), &LoadOptions::default())?;
    let record = &ready.record;
    println!("{} for TensorRT {}", record.key.precision, record.key.library);
    println!("options: {}", record.key.options);
    println!("profiles (least..usual..greatest): {}", record.key.profiles);
    println!("built in {:.1} s, {} bytes, SHA-256 {}", record.build_seconds, record.bytes, record.sha256);
    println!("{}", record.audit);
    for (kind, count) in &record.audit.kinds {
        println!("{count:6} {kind}");
    }
    if let Some(file) = args.next() {
        std::fs::write(file, &ready.engine)?;
    }
    Ok(())
}
