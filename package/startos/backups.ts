import { sdk } from './sdk'

/**
 * Everything is on one volume, and the service is stopped meanwhile. The SSH key travels in it; StartOS encrypts backups.
 * What is restored is an older memory: the Sparks know what was done after it.
 */
export const { createBackup, restoreInit } = sdk.setupBackups(async () =>
  sdk.Backups.ofVolumes('main').setOptions({ exclude: ['state/control.sock'] }),
)
