{{- define "meshproxy.name" -}}
{{- printf "%s" .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "meshproxy.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "meshproxy.selectorLabels" -}}
app.kubernetes.io/name: {{ include "meshproxy.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "meshproxy.labels" -}}
{{ include "meshproxy.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{- define "meshproxy.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "meshproxy.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- define "meshproxy.configMapName" -}}
{{- .Values.existingConfigMap | default (include "meshproxy.fullname" .) -}}
{{- end -}}

{{- /* Whether there may be more than one replica: not empty if so. */ -}}
{{- define "meshproxy.isReplicated" -}}
{{- if or .Values.autoscaling.enabled (gt (int .Values.replicaCount) 1) }}yes{{ end -}}
{{- end -}}

{{- define "meshproxy.peersName" -}}
{{- printf "%s-peers" (include "meshproxy.fullname" . | trunc 57 | trimSuffix "-") -}}
{{- end -}}

{{- define "meshproxy.clusterKeyName" -}}
{{- .Values.cluster.keySecret | default (printf "%s-cluster-key" (include "meshproxy.fullname" . | trunc 51 | trimSuffix "-")) -}}
{{- end -}}

{{- /* The mesh.yaml: with several replicas, how they find each other goes with it, unless it is there. */ -}}
{{- define "meshproxy.config" -}}
{{- if include "meshproxy.isReplicated" . -}}
{{- $port := .Values.cluster.port | toString -}}
{{- $cluster := dict "listen" (printf "0.0.0.0:%s" $port) "advertise" (printf "${POD_IP}:%s" $port) "peers" (list (printf "%s:%s" (include "meshproxy.peersName" .) $port)) "key" "${file:/etc/meshproxy-cluster/key}" -}}
{{- toYaml (merge (dict) .Values.config (dict "cluster" $cluster)) -}}
{{- else -}}
{{- toYaml .Values.config -}}
{{- end -}}
{{- end -}}

{{- /* Where the endpoint is: server.path, as the config has it or as it is by default. */ -}}
{{- define "meshproxy.path" -}}
{{- dig "server" "path" "/mcp" .Values.config -}}
{{- end -}}
