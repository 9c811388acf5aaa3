{% snapshot planes_history %}
{{
    config(
        target_schema="analytics",
        unique_key="tailnum",
        strategy="check",
        check_cols=["manufacturer", "model", "engine", "seats"],
    )
}}
select * from {{ ref("stg_planes") }}
{% endsnapshot %}
