import { sdk } from '../sdk'
import { addLocalModel } from './addLocalModel'
import { chooseModel } from './chooseModel'
import { configureSparks } from './configureSparks'
import { hold } from './hold'
import { release } from './release'
import { setPassword } from './setPassword'
import { showSshKey } from './showSshKey'
import { testConnection } from './testConnection'
import { trustHostKeys } from './trustHostKeys'

export const actions = sdk.Actions.of()
  .addAction(configureSparks)
  .addAction(showSshKey)
  .addAction(trustHostKeys)
  .addAction(testConnection)
  .addAction(chooseModel)
  .addAction(addLocalModel)
  .addAction(hold)
  .addAction(release)
  .addAction(setPassword)
