/** `cluster.yaml`, to be read only: our program is the one that writes it. Nothing in it is an error here. */
import { FileHelper, z } from '@start9labs/start-sdk'
import { sdk } from '../sdk'

const text = z.string().nullable().catch(null)

const spark = z
  .looseObject({ address: text, user: text })
  .catch({ address: null, user: null })

const service = z
  .looseObject({ kind: text, user: text })
  .catch({ kind: null, user: null })

const hold = z
  .looseObject({ owner: text, reason: text })
  .catch({ owner: null, reason: null })

const vllm = z
  .looseObject({
    port: z.number().nullable().catch(null),
    container: text,
    launcher: z.looseObject({ kind: text, dir: text }).nullable().catch(null),
  })
  .catch({ port: null, container: null, launcher: null })

const named = <T extends z.ZodType>(entry: T) =>
  z.record(z.string(), entry).catch({})

const shape = z.looseObject({
  sparks: named(spark),
  models: named(z.looseObject({}).catch({})),
  services: named(service),
  disabled_services: z.array(z.string()).catch([]),
  holds: named(hold),
  vllm,
})

export const clusterYaml = FileHelper.yaml(
  { base: sdk.volumes.main, subpath: './cluster.yaml' },
  shape,
)

/** What the file says; `null`: there is none, or it cannot be read, which the program says better. */
export async function described() {
  return clusterYaml
    .read()
    .once()
    .catch(() => null)
}
