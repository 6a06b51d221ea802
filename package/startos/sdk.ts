import { StartSdk } from '@start9labs/start-sdk'
import { manifest } from './manifest'

/** Everything that StartOS offers, typed for this package. */
export const sdk = StartSdk.of().withManifest(manifest).build(true)
