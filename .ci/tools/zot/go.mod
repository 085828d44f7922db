module lockkeeper/tools/zot

go 1.26

tool zotregistry.dev/zot/v2/cmd/zot
