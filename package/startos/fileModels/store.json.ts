/** What belongs to this package and not to the program. */
import { FileHelper, z } from '@start9labs/start-sdk'
import { sdk } from '../sdk'

export const storeJson = FileHelper.json(
  { base: sdk.volumes.main, subpath: './startos/store.json' },
  z.looseObject({
    /** The owner has a password: without one, nobody would be asked for it. */
    passwordSet: z.boolean().catch(false),
  }),
)
