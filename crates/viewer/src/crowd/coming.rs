//! Viewers come and go.

use std::time::Duration;

use tokio::sync::oneshot;

use super::attend::{Attendance, attend};
use super::member::Role;
use super::process::raise_descriptor_limit;
use super::thread::Leaving;
use super::{Attendant, Crowd, CrowdError, report};

impl Crowd {
    /// Brings more viewers in. Resolves once each has a picture or has failed; how many have one.
    pub async fn join(&mut self, count: usize) -> Result<usize, CrowdError> {
        raise_descriptor_limit(self.attendants.len() + self.vanished.len() + count)?;
        self.expected += count;
        let start = tokio::time::Instant::now();
        let mut coming = Vec::with_capacity(count);
        for position in 0..count {
            if self.options.join_rate > 0.0 {
                let offset = position as f64 / self.options.join_rate;
                tokio::time::sleep_until(start + Duration::from_secs_f64(offset)).await;
            }
            coming.push(self.start_one()?);
        }
        let mut came = 0;
        for (attendant, joined) in coming {
            match joined.await {
                Ok(Ok(())) => {
                    came += 1;
                    self.attendants.push_back(attendant);
                }
                Ok(Err(reason)) => {
                    if self.failures.len() < report::MAX_FAILURES {
                        self.failures.push(reason);
                    }
                    show_out(vec![attendant]).await;
                }
                Err(_) => return Err(CrowdError::ThreadGone),
            }
        }
        Ok(came)
    }

    fn start_one(
        &mut self,
    ) -> Result<(Attendant, oneshot::Receiver<Result<(), String>>), CrowdError> {
        let id = self.next_id;
        self.next_id += 1;
        let at = |of: usize| (id % of.max(1) as u64) as usize;
        let (Some(thread), Some(url)) = (
            self.threads.get(at(self.threads.len())),
            self.options.urls.get(at(self.options.urls.len())),
        ) else {
            return Err(CrowdError::ThreadGone);
        };
        let share = |count: u64| (count as f64 * self.options.inspect).floor();
        let inspected = share(id + 1) > share(id);
        let decodes = id < self.options.decode as u64;
        let role = Role {
            id,
            inspected: inspected || decodes,
            witness: id == 0 && inspected,
            floods: id == 0 && self.options.flood > 0,
            decoder: self
                .decoder
                .as_ref()
                .filter(|_| decodes)
                .map(|(_, queue)| queue.clone()),
        };
        let (joined_sender, joined) = oneshot::channel();
        let (leave, leave_receiver) = oneshot::channel();
        let task = tokio::spawn(attend(Attendance {
            role,
            url: url.clone(),
            options: self.options.clone(),
            identity: self.identity.clone(),
            orders: thread.orders.clone(),
            joined: joined_sender,
            leave: leave_receiver,
        }));
        Ok((Attendant { leave, task }, joined))
    }

    /// Lets those go who came first, with a good-bye on DTLS and WebSocket.
    pub async fn leave(&mut self, count: usize) {
        let count = count.min(self.attendants.len());
        self.expected -= count;
        show_out(self.attendants.drain(..count).collect()).await;
    }

    /// Lets those who came first fall silent, as machines that lose their power: their sockets stay open until
    /// the crowd is dropped, but nothing is read or sent any more.
    pub async fn vanish(&mut self, count: usize) {
        for _ in 0..count {
            let Some(attendant) = self.attendants.pop_front() else {
                return;
            };
            self.expected -= 1;
            // One that has ended needs no order.
            let _ = attendant.leave.send(Leaving::Vanishing);
            self.vanished.push(attendant.task);
        }
    }
}

/// Lets them go, all at once, and waits until they went.
async fn show_out(attendants: Vec<Attendant>) {
    /// For the WebSocket's closing handshake; a server that does not answer keeps nobody longer.
    const GRACE: Duration = Duration::from_secs(2);
    let mut tasks = Vec::with_capacity(attendants.len());
    for attendant in attendants {
        // One that has ended needs no order.
        let _ = attendant.leave.send(Leaving::Closing);
        tasks.push(attendant.task);
    }
    let deadline = tokio::time::Instant::now() + GRACE;
    for task in tasks {
        let abort = task.abort_handle();
        if tokio::time::timeout_at(deadline, task).await.is_err() {
            abort.abort();
        }
    }
}
