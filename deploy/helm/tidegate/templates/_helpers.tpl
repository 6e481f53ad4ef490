{{- define "tidegate.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 53 | trimSuffix "-" -}}
{{- end -}}

{{/* The release's name, with the chart's unless it is in there. Short enough for what is put behind it. */}}
{{- define "tidegate.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 53 | trimSuffix "-" -}}
{{- else if contains (include "tidegate.name" .) .Release.Name -}}
{{- .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "tidegate.name" .) | trunc 53 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "tidegate.selector" -}}
app.kubernetes.io/name: {{ include "tidegate.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: server
{{- end -}}

{{- define "tidegate.commonLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: {{ include "tidegate.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "tidegate.labels" -}}
{{ include "tidegate.commonLabels" . }}
app.kubernetes.io/component: server
{{- end -}}

{{- define "tidegate.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "tidegate.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "tidegate.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository (default .Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{/* "true" or nothing. */}}
{{- define "tidegate.hasRedis" -}}
{{- if or .Values.redis.urls .Values.redis.urlsSecret.name -}}true{{- end -}}
{{- end -}}
{{- define "tidegate.hasDatabase" -}}
{{- if or .Values.database.url .Values.database.urlSecret.name -}}true{{- end -}}
{{- end -}}
{{- define "tidegate.hasRuleFiles" -}}
{{- if or .Values.rules.files .Values.rules.existingConfigMap -}}true{{- end -}}
{{- end -}}
{{- define "tidegate.hasXds" -}}
{{- if hasKey (default dict .Values.settings.rules) "xds" -}}true{{- end -}}
{{- end -}}
{{/* Rules that come from afar are kept in the pod, too. */}}
{{- define "tidegate.keepsCopies" -}}
{{- if or (include "tidegate.hasDatabase" .) (include "tidegate.hasXds" .) -}}true{{- end -}}
{{- end -}}
{{- define "tidegate.several" -}}
{{- if or .Values.autoscaling.enabled (gt (int .Values.replicas) 1) -}}true{{- end -}}
{{- end -}}

{{/* What cannot be meant, each with what to do. */}}
{{- define "tidegate.check" -}}
{{- if and (include "tidegate.several" .) (not (include "tidegate.hasRedis" .)) -}}
{{- $why := "counters in memory are each replica's own, so limits would be multiplied" -}}
{{- fail (printf "%s: set redis.urls (or redis.urlsSecret), or replicas: 1 and autoscaling.enabled: false" $why) -}}
{{- end -}}
{{- if and (include "tidegate.hasDatabase" .) (include "tidegate.hasRuleFiles" .) -}}
{{- $why := "rules are kept either in the database or in files" -}}
{{- fail (printf "%s: remove rules.files and rules.existingConfigMap, or database.url and database.urlSecret" $why) -}}
{{- end -}}
{{- if and (include "tidegate.hasXds" .) (or (include "tidegate.hasDatabase" .) (include "tidegate.hasRuleFiles" .)) -}}
{{- fail "rules come from one place: remove settings.rules.xds, or the rule files and the database" -}}
{{- end -}}
{{- if and .Values.rules.files .Values.rules.existingConfigMap -}}
{{- fail "rules.files and rules.existingConfigMap exclude each other: remove one" -}}
{{- end -}}
{{- if and .Values.redis.urls .Values.redis.urlsSecret.name -}}
{{- fail "redis.urls and redis.urlsSecret exclude each other: remove one" -}}
{{- end -}}
{{- if and .Values.database.url .Values.database.urlSecret.name -}}
{{- fail "database.url and database.urlSecret exclude each other: remove one" -}}
{{- end -}}
{{- if and (eq .Values.redis.type "sentinel") (include "tidegate.hasRedis" .) (not .Values.redis.sentinelMaster) -}}
{{- fail "redis.type: sentinel needs redis.sentinelMaster, the name of the primary" -}}
{{- end -}}
{{- if and .Values.tls.clientSan (not .Values.tls.clientCa) -}}
{{- fail "tls.clientSan needs tls.clientCa: true" -}}
{{- end -}}
{{- $scale := .Values.autoscaling -}}
{{- if and $scale.enabled (gt (int $scale.minReplicas) (int $scale.maxReplicas)) -}}
{{- fail "autoscaling.minReplicas is more than autoscaling.maxReplicas" -}}
{{- end -}}
{{- $services := "nothing, as the chart's Services and probes need it as it is" -}}
{{- $own := dict
    "grpc.address" $services "grpc.unix_socket" $services "grpc.workers" "workers" "grpc.tls" "tls.secretName"
    "http.address" $services "http.unix_socket" $services "http.tls" $services "admin.address" $services
    "rules.paths" "rules.files" "rules.runtime" "rules.files" "rules.repository_file" "database"
    "rules.copy_directory" "nothing, as it is set with a database and with xds" "rules.copy_key_file" "rules.copyKeySecret"
    "redis.type" "redis.type" "redis.urls" "redis.urls" "redis.username" "redis.username"
    "redis.password" "redis.passwordSecret" "redis.password_file" "redis.passwordSecret"
    "redis.sentinel" "redis.sentinelMaster" "redis.tls" "redis.tls"
    "database.url" "database.url" "database.password_file" "database.passwordSecret" "database.tls" "database.tls"
    "database.migrate" "database.migration.enabled"
    "ext_authz.secret_key_file" "extAuthz.secretKeySecret"
    "shutdown.drain_period" "shutdown.drainSeconds" "shutdown.grace_period" "shutdown.graceSeconds" -}}
{{- range $field, $instead := $own -}}
{{- $parts := splitList "." $field -}}
{{- if hasKey (default dict (index $.Values.settings (first $parts))) (last $parts) -}}
{{- fail (printf "settings.%s is the chart's to set; set instead: %s" $field $instead) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.settings.redis (not (include "tidegate.hasRedis" .)) -}}
{{- fail "settings.redis needs redis.urls (or redis.urlsSecret)" -}}
{{- end -}}
{{- if and .Values.settings.database (not (include "tidegate.hasDatabase" .)) -}}
{{- fail "settings.database needs database.url (or database.urlSecret)" -}}
{{- end -}}
{{- end -}}

{{/* Where files of Secrets are. */}}
{{- define "tidegate.secrets" -}}/etc/tidegate/secrets{{- end -}}

{{/* TLS towards Redis or Postgres: list of the values, and the name of the folder. */}}
{{- define "tidegate.clientTls" -}}
{{- $tls := index . 0 -}}
{{- if $tls.caSecret.name -}}
{{- dict "ca" (printf "/etc/tidegate/secrets/%s/ca.crt" (index . 1)) | toYaml -}}
{{- else -}}
{}
{{- end -}}
{{- end -}}

{{/* tidegate.yaml */}}
{{- define "tidegate.settings" -}}
{{- $secrets := include "tidegate.secrets" . -}}
{{- $grpc := dict "workers" .Values.workers -}}
{{- if .Values.tls.secretName -}}
{{- $tls := dict "certificate" "/etc/tidegate/tls/tls.crt" "key" "/etc/tidegate/tls/tls.key" -}}
{{- if .Values.tls.clientCa -}}{{- $_ := set $tls "client_ca" "/etc/tidegate/tls/ca.crt" -}}{{- end -}}
{{- if .Values.tls.clientSan -}}{{- $_ := set $tls "client_san" .Values.tls.clientSan -}}{{- end -}}
{{- $_ := set $grpc "tls" $tls -}}
{{- end -}}
{{- $rules := dict -}}
{{- if include "tidegate.hasRuleFiles" . -}}
{{- $_ := set $rules "paths" (list "/etc/tidegate/rules") -}}
{{- end -}}
{{- if include "tidegate.keepsCopies" . -}}
{{- $_ := set $rules "copy_directory" "/var/lib/tidegate/rules" -}}
{{- end -}}
{{- if .Values.rules.copyKeySecret.name -}}
{{- $_ := set $rules "copy_key_file" (printf "%s/rules/copy-key" $secrets) -}}
{{- end -}}
{{- $settings := dict
    "grpc" $grpc
    "http" (dict "unix_socket" "/run/tidegate/api.sock")
    "admin" (dict "address" "0.0.0.0:6070")
    "rules" $rules
    "shutdown" (dict
        "drain_period" (printf "%ds" (int .Values.shutdown.drainSeconds))
        "grace_period" (printf "%ds" (int .Values.shutdown.graceSeconds)))
    "telemetry" (dict "logs" (dict "format" "json"))
-}}
{{- if include "tidegate.hasRedis" . -}}
{{- $redis := dict "type" .Values.redis.type -}}
{{- with .Values.redis -}}
{{- if .urls -}}{{- $_ := set $redis "urls" .urls -}}{{- end -}}
{{- if .username -}}{{- $_ := set $redis "username" .username -}}{{- end -}}
{{- if .passwordSecret.name -}}{{- $_ := set $redis "password_file" (printf "%s/redis/password" $secrets) -}}{{- end -}}
{{- if .sentinelMaster -}}{{- $_ := set $redis "sentinel" (dict "master" .sentinelMaster) -}}{{- end -}}
{{- if .tls.enabled -}}{{- $_ := set $redis "tls" (include "tidegate.clientTls" (list .tls "redis") | fromYaml) -}}{{- end -}}
{{- end -}}
{{- $_ := set $settings "redis" $redis -}}
{{- end -}}
{{- if include "tidegate.hasDatabase" . -}}
{{- $database := dict "migrate" (not .Values.database.migration.enabled) -}}
{{- with .Values.database -}}
{{- if .url -}}{{- $_ := set $database "url" .url -}}{{- end -}}
{{- if .passwordSecret.name -}}
{{- $_ := set $database "password_file" (printf "%s/database/password" $secrets) -}}
{{- end -}}
{{- if .tls.enabled -}}
{{- $_ := set $database "tls" (include "tidegate.clientTls" (list .tls "database") | fromYaml) -}}
{{- end -}}
{{- end -}}
{{- $_ := set $settings "database" $database -}}
{{- end -}}
{{- if .Values.extAuthz.secretKeySecret.name -}}
{{- $_ := set $settings "ext_authz" (dict "secret_key_file" (printf "%s/ext-authz/secret-key" $secrets)) -}}
{{- end -}}
{{- if not $rules -}}{{- $_ := unset $settings "rules" -}}{{- end -}}
{{- mergeOverwrite $settings (deepCopy .Values.settings) | toYaml -}}
{{- end -}}

{{/* Sources of the volume of Secrets: list of (reference, path in the volume). */}}
{{- define "tidegate.secretSources" -}}
{{- range . -}}
{{- $reference := index . 0 -}}
{{- if $reference.name }}
- secret:
    name: {{ $reference.name }}
    items:
      - { key: {{ $reference.key | quote }}, path: {{ index . 1 }} }
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "tidegate.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: { type: RuntimeDefault }
{{- end -}}

{{- define "tidegate.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities: { drop: [ALL] }
{{- end -}}
