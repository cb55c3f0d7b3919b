#!/usr/bin/env bash
# Every step from a folder of labelled images to answers with confidences, in the order in which a new user takes them.
#
#   docs/walkthrough.sh photos Qwen/Qwen3-VL-2B-Instruct
#
# FOLDER holds images and labels.csv with the columns image, question and answer (docs/quickstart.md). Whatever follows
# MODEL is handed on to the commands that read the experiment, such as --config trial.yaml with other settings.
set -euo pipefail
FOLDER=$1
MODEL=$2
SETTINGS=("${@:3}")

# Look at the data and write a config; check both before anything is trained; train.
vlcal init "$FOLDER" --model "$MODEL" --output experiment.yaml
vlcal doctor --config experiment.yaml --memory 8 --sample 8 "${SETTINGS[@]}"
vlcal fit --config experiment.yaml "${SETTINGS[@]}"

# How good are the confidences on the questions that were held out?
vlcal validate --config experiment.yaml --ckpt_path runs/experiment/checkpoints/last.ckpt "${SETTINGS[@]}"
vlcal report runs/experiment/validation.jsonl --output runs/experiment/report

# Answers to other questions: one line each with all that is measured, or the answers and confidences alone.
vlcal predict --config experiment.yaml --ckpt_path runs/experiment/checkpoints/last.ckpt "${SETTINGS[@]}"
vlcal ask --file "$FOLDER/labels.csv" --model runs/experiment --output answers.jsonl

# A folder that transformers and vLLM load, with a model card; vlcal asks it like the run.
vlcal export --config runs/experiment/tensorboard/config.yaml --ckpt_path runs/experiment/checkpoints/last.ckpt --folder merged
vlcal ask --file "$FOLDER/labels.csv" --model merged --output answers-merged.jsonl
