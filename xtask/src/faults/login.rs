//! Row 32: the broker forgets the login of a job that runs.

use anyhow::{Result, ensure};

use super::world::{Sink, World};
use crate::e2e::context::Context;

const USER: &str = "passing-guest";
/// A canary: it must not be found in anything that the program prints or writes.
const PASSWORD: &str = "canary-of-row-32";

/// The login is taken away, connections break, and the login comes back; the job waits meanwhile and says for what.
pub(super) fn revoked(context: &Context) -> Result<()> {
    let services = context.services();
    let grant =
        || services.kafka()?.configure_user(USER, &["--add-config", &format!("SCRAM-SHA-256=[password={PASSWORD}]")]);
    grant()?;
    let login = format!(
        ", 'properties.security.protocol' = 'SASL_PLAINTEXT', 'properties.sasl.mechanism' = 'SCRAM-SHA-256', \
         'properties.sasl.jaas.config' = 'org.apache.kafka.common.security.scram.ScramLoginModule required \
         username=\"{USER}\" password=\"{PASSWORD}\";'"
    );
    let mut world = World::with_source(context, &[Sink::Files], true, super::seed_of(32), &login)?;
    world.addresses().kafka = services.kafka()?.sasl_plaintext();
    world.run_through(|world, program| {
        services.kafka()?.configure_user(USER, &["--delete-config", "SCRAM-SHA-256"])?;
        // Connections that are open stay so; new ones are refused.
        services.kafka()?.stop()?;
        services.kafka()?.restart()?;
        program.wait_until(120, "the word about the login", |p| {
            p.stderr().contains("waiting, and trying again") && p.stderr().to_lowercase().contains("authentication")
        })?;
        world.produce(100)?;
        grant()
    })?;
    let report = context.report();
    ensure!(!report.contains(PASSWORD), "the password is shown");
    for file in super::world::files_below(&world.state())? {
        let bytes = std::fs::read(&file)?;
        ensure!(
            !bytes.windows(PASSWORD.len()).any(|window| window == PASSWORD.as_bytes()),
            "the password is in `{}`",
            file.display()
        );
    }
    Ok(())
}
