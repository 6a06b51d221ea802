//! Names to IPv4 addresses, for SSH and for HTTP alike.

use std::{net::Ipv4Addr, time::Duration};

use tokio::time::timeout;

use super::Unreachable;

/// A resolver that has not answered by then will not: `.local` names are asked on the local network.
const DEADLINE: Duration = Duration::from_secs(5);

/// `address` as IPv4: `.local` names answer with link-local IPv6 first, which nothing here can use.
///
/// # Errors
/// [`Unreachable::Connection`] when the name has no IPv4 address.
pub async fn ipv4(address: &str) -> Result<Ipv4Addr, Unreachable> {
    if let Ok(address) = address.parse() {
        return Ok(address);
    }
    let looking = tokio::net::lookup_host((address, 0));
    let found = timeout(DEADLINE, looking)
        .await
        .map_err(|_| Unreachable::Deadline(DEADLINE))?
        .map_err(|error| Unreachable::Connection(format!("looking up `{address}`: {error}")))?;
    found
        .filter_map(|socket| match socket.ip() {
            std::net::IpAddr::V4(address) => Some(address),
            std::net::IpAddr::V6(_) => None,
        })
        .next()
        .ok_or_else(|| Unreachable::Connection(format!("`{address}` has no IPv4 address")))
}
