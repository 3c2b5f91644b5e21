//! `avatar-crowd`: the load generator. Thousands of light viewers, and what they saw.

#![forbid(unsafe_code)]

mod arguments;
mod table;

use std::process::ExitCode;

use avatar_viewer::crowd::{Crowd, CrowdError, CrowdReport};
use serde::Serialize;

use arguments::{Arguments, USAGE};

/// One line of `--json`.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Event<'a> {
    /// All that will have a picture have one.
    Joined {
        viewers: usize,
    },
    Report(&'a CrowdReport),
}

fn main() -> ExitCode {
    let arguments = match Arguments::parse() {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("{error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    // Signalling sleeps most of the time: one thread serves all of it.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let watched = match runtime {
        Ok(runtime) => runtime.block_on(watch(&arguments)),
        Err(error) => Err(CrowdError::Thread(error)),
    };
    match watched {
        Ok(report) if report.with_picture == report.viewers => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn watch(arguments: &Arguments) -> Result<CrowdReport, CrowdError> {
    let mut crowd = Crowd::connect(arguments.options.clone()).await?;
    if arguments.json {
        print_line(&Event::Joined {
            viewers: crowd.len(),
        });
    }
    let report = crowd.report_window(arguments.watch).await?;
    if arguments.json {
        print_line(&Event::Report(&report));
    } else {
        table::print(&report);
    }
    crowd.close().await;
    Ok(report)
}

fn print_line(event: &Event<'_>) {
    match serde_json::to_string(event) {
        Ok(line) => println!("{line}"),
        Err(error) => eprintln!("cannot print JSON: {error}"),
    }
}
