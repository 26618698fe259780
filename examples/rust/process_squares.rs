//! Nine processes at the same time, each with a name (row M2).

use manyhands::{Process, SpawnError};

#[manyhands::task]
fn square(name: String, n: u64) -> u64 {
    println!("{name}, process {}: {n} * {n} = {}", std::process::id(), n * n);
    n * n
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    manyhands::init();
    let start = |n| {
        let name = format!("square of {n}");
        Process::builder().name(&*name).spawn(square::task, (name.clone(), n))
    };
    let processes = (1..=9).map(start).collect::<Result<Vec<_>, SpawnError>>()?;
    for process in processes {
        process.join()?;
    }
    Ok(())
}
