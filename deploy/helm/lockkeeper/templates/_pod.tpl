{{- define "lockkeeper.name" -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{- define "lockkeeper.selector" -}}
app.kubernetes.io/name: lockkeeper
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "lockkeeper.labels" -}}
{{ include "lockkeeper.selector" . }}
{{- if .root.Values.helmLabels }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}
{{- end }}

{{- define "lockkeeper.image" -}}
{{- $repository := required "image.repository: say where the image is" .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{ $repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ $repository }}:{{ required "image.digest or image.tag: say which image" .Values.image.tag }}
{{- end -}}
{{- end }}

{{/*
A pod of one role. `secrets`: keys of the Secret that it gets, and no other; `grants`: whether it gets any; `own`: what it
gets of an environment in place of the common grant; `claims`: whether its data folder is a volume that outlives it.
*/}}
{{- define "lockkeeper.pod" -}}
{{- $root := .root -}}
{{- $values := .root.Values -}}
metadata:
  labels:
    {{- include "lockkeeper.labels" . | nindent 4 }}
  {{- with $values.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "lockkeeper.name" $root }}
  automountServiceAccountToken: false
  # A Service called lockkeeper would set variables that Lockkeeper refuses as unknown settings.
  enableServiceLinks: false
  terminationGracePeriodSeconds: 35
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    runAsGroup: 10001
    fsGroup: 10001
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: { type: RuntimeDefault }
  {{- with $values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  containers:
    - name: lockkeeper
      image: {{ include "lockkeeper.image" $root }}
      imagePullPolicy: {{ $values.image.pullPolicy }}
      args: {{ toJson .args }}
      env:
        - name: LOCKKEEPER_APP_ID
          value: {{ required "appId: say the App's number" $values.appId | quote }}
        - name: LOCKKEEPER_MANIFESTS
          value: {{ required "manifests: say the manifests repositories" ($values.manifests | join ",") | quote }}
        - name: LOCKKEEPER_LISTEN
          value: 0.0.0.0:8080
        - name: LOCKKEEPER_BOARD_LISTEN
          value: 0.0.0.0:8081
        {{- range $key, $variable := .secrets }}
        - name: {{ $variable }}_FILE
          value: /etc/lockkeeper/secrets/{{ $key }}
        {{- end }}
        {{- range $name, $value := $values.settings }}
        - name: {{ $name }}
          value: {{ $value | quote }}
        {{- end }}
      ports:
        - { name: webhook, containerPort: 8080 }
        - { name: board, containerPort: 8081 }
      startupProbe:
        httpGet: { path: /healthz, port: board }
        periodSeconds: 2
        failureThreshold: 60
      livenessProbe:
        httpGet: { path: /healthz, port: board }
        periodSeconds: 15
        timeoutSeconds: 5
      readinessProbe:
        httpGet: { path: /readyz, port: board }
        periodSeconds: 10
        timeoutSeconds: 5
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: { drop: [ALL] }
      resources:
        {{- toYaml $values.resources | nindent 8 }}
      volumeMounts:
        - { name: data, mountPath: /var/lib/lockkeeper }
        - { name: temporary, mountPath: /tmp }
        - { name: secrets, mountPath: /etc/lockkeeper/secrets, readOnly: true }
        {{- if .grants }}
        - { name: grants, mountPath: /etc/lockkeeper/grants, readOnly: true }
        {{- end }}
  volumes:
    {{- if not .claims }}
    - name: data
      emptyDir: { sizeLimit: {{ $values.database.size }} }
    {{- end }}
    - name: temporary
      emptyDir: { sizeLimit: {{ $values.temporarySize }} }
    - name: secrets
      secret:
        secretName: {{ $values.secretName }}
        defaultMode: 0440
        items:
          {{- range $key, $variable := .secrets }}
          - { key: {{ $key }}, path: {{ $key }} }
          {{- end }}
    {{- if .grants }}
    - name: grants
      projected:
        defaultMode: 0440
        sources:
          {{- include "lockkeeper.grants" . | trim | nindent 10 }}
    {{- end }}
  {{- with $values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{/* The grants folder: <owner>/<repository>/<environment>/<file>, each file from its Secret. */}}
{{- define "lockkeeper.grants" -}}
{{- $own := .own | default dict -}}
{{- range $grant := .root.Values.grants }}
{{- with $grant.sources }}
- secret:
    name: {{ . }}
    items:
      - { key: sources, path: {{ $grant.manifests }}/sources }
{{- end }}
{{- range $environment, $common := $grant.environments }}
{{- $given := get $own $environment | default $common }}
- secret:
    name: {{ $given.secret }}
    items:
      {{- range $given.files | default (list "registry.json") }}
      - { key: {{ . }}, path: {{ $grant.manifests }}/{{ $environment }}/{{ . }} }
      {{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* The keys of the Secret that a process which works needs -> the settings that name them. */}}
{{- define "lockkeeper.worker-secrets" -}}
private-key: LOCKKEEPER_PRIVATE_KEY
webhook-secret: LOCKKEEPER_WEBHOOK_SECRET
{{- if .Values.recordKey }}
record-key: LOCKKEEPER_RECORD_KEY
{{- end }}
{{- include "lockkeeper.common-secrets" . }}
{{- end }}

{{- define "lockkeeper.common-secrets" -}}
{{- if .Values.metricsToken }}
metrics-token: LOCKKEEPER_METRICS_TOKEN
{{- end }}
{{- if eq .Values.database.kind "postgresql" }}
database-url: LOCKKEEPER_DATABASE_URL
{{- end }}
{{- end }}
