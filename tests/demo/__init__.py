"""``make demo``: two releases of one application from develop to prod, for real, in a minute.

A local GitHub, three registries, a manifests repository, an application repository and the real
bot process; the demo plays the developer, CI and the reviewer, and shows what happens as it
happens. Act one promotes a build. Act two brings one that the policy blocks, and the one that
mends it. ``build/demo/`` keeps ``result.json`` and the pull request bodies as GitHub shows them.
"""
