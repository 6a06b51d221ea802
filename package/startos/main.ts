/** The program, and what StartOS shows of its health. */
import { Status, isKnown, judge } from './health'
import { i18n } from './i18n'
import { teller } from './notify'
import { sdk } from './sdk'
import {
  binary,
  environment,
  hostId,
  imageId,
  mounts,
  port,
  user,
} from './utils'

/** How often the cluster is asked about, in milliseconds; the program itself looks every thirty seconds. */
const often = { starting: 2_000, failure: 10_000 }
const seldom = 30_000

export const main = sdk.setupMain(async ({ effects }) => {
  // The program answers to addresses, and to the names under which StartOS shows it; any other is a trick of a browser.
  const names = await sdk.host
    .getOwn(effects, hostId, (host) =>
      Object.values(host?.bindings ?? {}).flatMap((binding) =>
        binding.addresses.available.map((address) => address.hostname),
      ),
    )
    .const()
  const hosts = [...new Set(names)].sort()
  const place = await sdk.SubContainer.of(
    effects,
    { imageId },
    mounts(),
    'primary',
  )
  const known = async (): Promise<Status | null> => {
    const words = ['status', '--cached', '--output', 'json']
    const asked = await place
      .exec([binary, ...words], { input: '', env: environment, user })
      .catch(() => null)
    try {
      return JSON.parse(String(asked?.stdout ?? '')) as Status
    } catch {
      return null
    }
  }
  const tell = teller(effects)
  return sdk.Daemons.of(effects)
    .addDaemon('primary', {
      subcontainer: place,
      exec: {
        command: [
          binary,
          'serve',
          '--listen',
          `0.0.0.0:${port}`,
          ...hosts.flatMap((name) => ['--allow-host', name]),
        ],
        env: environment,
        user,
        // The step that is under way is ended in order.
        sigtermTimeout: 90_000,
      },
      ready: {
        display: i18n('The page'),
        fn: async () =>
          (await answers())
            ? { result: 'success', message: i18n('It answers') }
            : { result: 'failure', message: i18n('It does not answer') },
      },
      requires: [],
    })
    .addHealthCheck('cluster', {
      ready: {
        display: i18n('The cluster'),
        fn: async () => {
          const status = await known()
          if (!status || !isKnown(status)) {
            return {
              result: 'starting',
              message: i18n('The Sparks are looked at'),
            }
          }
          const health = judge(status)
          await tell(health)
          return health
        },
        trigger: sdk.trigger.statusTrigger(seldom, often),
      },
      requires: ['primary'],
    })
})

/** An open port is not yet an answer. */
async function answers(): Promise<boolean> {
  const signal = AbortSignal.timeout(5_000)
  return fetch(`http://127.0.0.1:${port}/healthz`, { signal })
    .then((told) => told.ok)
    .catch(() => false)
}
