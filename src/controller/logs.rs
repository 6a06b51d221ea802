//! What containers of a slot or service say now.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Controller, Refusal};
use crate::{
    core::{desired::Place, name::SparkName},
    docker,
};

/// As much as a person scrolls back.
const LINES: u32 = 500;
const DEADLINE: Duration = Duration::from_secs(10);

/// One container's last words.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Log {
    pub spark: SparkName,
    pub container: String,
    /// Or why it could not be read.
    pub text: Result<String, String>,
}

impl Controller {
    /// The current logs of every container of `object` that was seen at the last look.
    ///
    /// # Errors
    /// When there is no such object.
    pub async fn logs(&self, object: &str) -> Result<Vec<Log>, Refusal> {
        let mut places = Vec::new();
        {
            let state = self.state();
            let (Some(current), Some(observed)) = (&state.current, &state.observed) else {
                return Ok(Vec::new());
            };
            current.known(object)?;
            let desired = &current.desired;
            let slots = desired.slots.iter().filter(|(name, _)| name.as_str() == object);
            let mut wanted: Vec<(&SparkName, &str)> = slots
                .flat_map(|(_, slot)| slot.sparks.iter().map(|spark| (spark, slot.container.as_str())))
                .collect();
            let service = desired.services.iter().find(|(name, _)| name.as_str() == object);
            if let Some((Place::Spark(spark), Some(container))) =
                service.map(|(_, service)| (&service.place, &service.container))
            {
                wanted.push((spark, container.as_str()));
            }
            for (spark, name) in wanted {
                let container = observed.facts(spark).and_then(|facts| facts.container(name));
                let way = state.transports.get(spark).map(|(_, transport)| transport.clone());
                if let (Some(container), Some(way)) = (container, way) {
                    places.push((spark.clone(), name.to_owned(), container.id.clone(), way));
                }
            }
        }
        let reading = places.into_iter().map(|(spark, container, id, way)| async move {
            let text =
                docker::logs(way.as_ref(), &id, LINES, DEADLINE).await.map_err(|error| error.to_string());
            Log { spark, container, text }
        });
        Ok(futures_util::future::join_all(reading).await)
    }
}
