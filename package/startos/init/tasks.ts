/** What the owner is asked to do first. A critical task keeps the service from starting. */
import { configureSparks } from '../actions/configureSparks'
import { setPassword } from '../actions/setPassword'
import { showSshKey } from '../actions/showSshKey'
import { trustHostKeys } from '../actions/trustHostKeys'
import { clusterYaml } from '../fileModels/cluster.yaml'
import { storeJson } from '../fileModels/store.json'
import { i18n } from '../i18n'
import { sdk } from '../sdk'

export const askOwner = sdk.setupOnInit(async (effects, kind) => {
  // A file that cannot be read is mended on the page, which must be able to start.
  const known = await clusterYaml
    .read()
    .once()
    .catch(() => 'unreadable' as const)
  if (known !== 'unreadable' && Object.keys(known?.sparks ?? {}).length === 0) {
    await sdk.action.createOwnTask(effects, configureSparks, 'critical', {
      reason: i18n('Say where your Sparks are'),
    })
  }
  const store = await storeJson
    .read()
    .once()
    .catch(() => null)
  if (!store?.passwordSet) {
    await sdk.action.createOwnTask(effects, setPassword, 'critical', {
      reason: i18n('Without a password, whoever reaches the page could use it'),
    })
  }
  if (kind === 'install') {
    await sdk.action.createOwnTask(effects, showSshKey, 'important', {
      reason: i18n('Each Spark must know this key'),
    })
    await sdk.action.createOwnTask(effects, trustHostKeys, 'important', {
      reason: i18n('No Spark is used before its host key is trusted'),
    })
  }
})
